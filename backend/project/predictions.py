"""Predictions by task, in an SQLite file.

Where MODEL_DIR is a URL, the file is one machine's own: whatever is put into it is also written there as a part, an
SQLite file with a new name, and each machine takes the parts of the others over when it reads.

It is a cache: a damaged file is deleted by whoever meets it, who fails with a DamagedError; the next one makes it anew.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from model.artefacts import Artefacts
from model.atomic import TEMPORARY, remove
from model.damage import DamagedError, warn

T = TypeVar("T")
ID_BITS = 63  # of SQLite's integers: a number that is longer is no task's
PART = 500  # predictions that are in memory at once
PredictionRow = tuple[int, str, float, list[dict]]
"""(task id, the image's address, score, regions)"""

TABLE = "CREATE TABLE IF NOT EXISTS prediction (task INTEGER PRIMARY KEY, image TEXT, score REAL, result TEXT)"
DAMAGE = {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_MISMATCH}
"""SQLite's codes for contents that are none of ours; the first stands for a table of another shape"""
PARTS = "CREATE TABLE IF NOT EXISTS part (name TEXT PRIMARY KEY)"


class Predictions:
    """Predictions by task. The image's reference is kept with each, so that a changed task is seen."""

    def __init__(self, file: Path, artefacts: Artefacts | None = None, name: str = "") -> None:
        """`artefacts`: where other machines read and write them, as parts in the directory `name`."""
        self.file = file
        self.artefacts = artefacts
        self.name = name

    def put(self, rows: Iterable[PredictionRow], *, share: bool = True) -> None:
        """Store (task id, image reference, score, regions), some hundred at a time; an earlier one of the same task is
        replaced.

        Args:
            share: let other machines see them; false for what each can make for itself.
        """
        if self.artefacts is None or not share:
            for part_of in parts(rows):
                with _opened(self.file) as database:
                    _insert(database, part_of)
            return
        self._gather()
        part = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}.sqlite"  # sorts by time: the newest part wins
        half, place = self.file.parent / f"{TEMPORARY}{part}", self.artefacts.local / self.name / part
        try:
            for part_of in parts(rows):
                with _opened(half) as database:
                    _insert(database, part_of)
            if half.exists():
                self.artefacts.push(f"{self.name}/{part}", source=half)
                self._copy(part, place)
                place.unlink(missing_ok=True)  # it lies there, and all of it here
        finally:
            half.unlink(missing_ok=True)

    def rescore(self, scores: Iterable[tuple[int, float]]) -> None:
        """Set the scores of (task id, score), of those that are known."""
        if self.artefacts is None:
            with _opened(self.file) as database:
                database.executemany("UPDATE prediction SET score = ? WHERE task = ?", ((s, t) for t, s in scores))
            return
        places = dict(scores)
        self._gather()
        self.put((task, image, places[task], result) for task, image, _, result in self.of(places))

    def get(self, tasks: Iterable[int]) -> dict[int, tuple[str, float, list[dict]]]:
        """task id -> (image reference, score, regions), for those that are known."""
        self._gather(kept=True)
        return self._read(tasks)

    def _read(self, tasks: Iterable[int]) -> dict[int, tuple[str, float, list[dict]]]:
        if not self.file.exists():
            return {}
        with _opened(self.file) as database:
            rows = {}
            for task in tasks:
                if task.bit_length() > ID_BITS:
                    continue
                row = database.execute("SELECT image, score, result FROM prediction WHERE task = ?", (task,)).fetchone()
                if row:
                    rows[task] = (row[0], row[1], _regions(row[2]))
            return rows

    def rows(self) -> Iterator[PredictionRow]:
        """Every (task id, image reference, score, regions), best place first."""
        self._gather()
        if not self.file.exists():
            return
        with _opened(self.file) as database:  # not held open while others work with what is read
            tasks = [task for (task,) in database.execute("SELECT task FROM prediction ORDER BY score, task")]
        yield from self.of(tasks)

    def of(self, tasks: Iterable[int]) -> Iterator[PredictionRow]:
        """(task id, image reference, score, regions) of those of the tasks that are known, in their order; few are in
        memory at once."""
        for part in parts(tasks):
            known = self._read(part)
            for task in part:
                if task in known:
                    yield (task, *known[task])

    def __iter__(self) -> Iterator[tuple[int, float, list[dict]]]:
        """Every (task id, score, regions), best place first."""
        for task, _, score, result in self.rows():
            yield task, score, result

    def __len__(self) -> int:
        self._gather()
        if not self.file.exists():
            return 0
        with _opened(self.file) as database:
            return database.execute("SELECT COUNT(*) FROM prediction").fetchone()[0]

    def tasks(self) -> set[int]:
        """The tasks that are known."""
        self._gather()
        if not self.file.exists():
            return set()
        with _opened(self.file) as database:
            return {task for (task,) in database.execute("SELECT task FROM prediction")}

    def delete(self) -> None:
        """Delete them, on all machines."""
        if self.artefacts is not None:
            self.artefacts.remove(self.name)
        discard(self.file)

    def check(self) -> None:
        """Raise DamagedError, after deleting it, where the file is damaged. Reads all of it."""
        if self.file.exists():
            with _opened(self.file) as database:
                (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
                if said != "ok":
                    raise ValueError(said)
                database.execute("SELECT task, image, score, result FROM prediction").fetchone()

    def _gather(self, *, kept: bool = False) -> None:
        """Take over the parts that are new; with `kept`, new to some seconds ago."""
        if self.artefacts is None:
            return
        held = self._held()
        there = self.artefacts.names(self.name, kept=kept)
        if kept and not held <= set(there):  # another process has just put some
            there = self.artefacts.names(self.name)
        if not held <= set(there):
            discard(self.file)  # deleted there, and perhaps made anew under the same name
            held = set()
        for part in there:
            if part not in held:
                source = self.artefacts.pull(f"{self.name}/{part}")
                if source.exists():  # else deleted a moment ago
                    self._take_over(part, source)
                    source.unlink(missing_ok=True)

    def _held(self) -> set[str]:
        """The parts that were taken over."""
        if not self.file.exists():
            return set()
        with _opened(self.file) as database:
            database.execute(PARTS)
            return {name for (name,) in database.execute("SELECT name FROM part")}

    def _take_over(self, part: str, source: Path) -> None:
        try:
            Predictions(source).check()
        except DamagedError as error:  # lost for all machines; what it held is predicted anew
            warn(str(error))
            assert self.artefacts is not None
            self.artefacts.remove(f"{self.name}/{part}")
            return
        self._copy(part, source)

    def _copy(self, part: str, source: Path) -> None:
        with _opened(self.file) as database:
            database.execute(PARTS)
            database.execute("ATTACH ? AS part_of", (str(source),))
            with database:
                database.execute("INSERT OR REPLACE INTO prediction SELECT * FROM part_of.prediction")
                database.execute("INSERT OR IGNORE INTO part VALUES (?)", (part,))


def discard(file: Path) -> None:
    """Delete a database, and what SQLite keeps beside it."""
    for place in (file, file.with_name(f"{file.name}-journal")):
        if os.path.lexists(place):
            remove(place)


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A database, whose directory and table are made; what is done is kept unless it fails.

    Raises DamagedError, and deletes the file, where it is damaged.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    before = _inode(file)
    try:
        with closing(sqlite3.connect(file, timeout=30)) as database, database:
            database.execute(TABLE)
            yield database
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        if isinstance(error, sqlite3.DatabaseError) and not _is_damage(error, file):  # locked, or a full disk
            raise
        if _inode(file) in (before, None) or before is None:  # else another process has made it anew
            discard(file)
        said = " ".join(str(error).split())
        raise DamagedError(f"{file} is damaged ({said}): it is deleted, and the predictions are made anew") from error


def _is_damage(error: sqlite3.DatabaseError, file: Path) -> bool:
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_CANTOPEN:
        return file.is_dir()
    code = getattr(error, "sqlite_errorcode", None)
    return code & 0xFF in DAMAGE if code is not None else "Could not decode" in str(error)


def _inode(file: Path) -> int | None:
    try:
        return file.stat().st_ino
    except FileNotFoundError:
        return None


def _regions(text: str) -> list[dict]:
    regions = json.loads(text)
    if not isinstance(regions, list):
        raise TypeError(f"regions that are none: {text[:40]}")
    return regions


def _insert(database: sqlite3.Connection, rows: list[PredictionRow]) -> None:
    stored = [(task, image, score, json.dumps(result)) for task, image, score, result in rows]
    database.executemany("INSERT OR REPLACE INTO prediction VALUES (?, ?, ?, ?)", stored)


def parts(things: Iterable[T]) -> Iterator[list[T]]:
    """Some hundred at a time: the boxes of a large project take 11 kB a task."""
    left = iter(things)
    while part := list(islice(left, PART)):
        yield part

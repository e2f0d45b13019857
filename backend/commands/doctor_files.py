"""Checks the files of one project: a line for each that is damaged, with the remedy. It changes none of them.

What is at fault in a cache, or in what the next job writes anew, is told too: it says why images are looked at again.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agent.gain.rows import Rows
from agent.inner_loop.plan import Plan
from agent.match_table import MatchTable
from agent.pool import store as pool
from backend.commands.findings import Finding
from backend.project.cycle import ANEW
from backend.project.published import RANKING
from backend.project.seen import BOXES
from backend.project.serving import published_of, store_of
from backend.queue.enqueue import BEGUN
from backend.settings import Settings
from model.damage import DamagedError, reading

AGAIN = "it is a cache: the next job makes it anew"
Check = Callable[[Path], object]


@dataclass(frozen=True)
class FilesCheck:
    """The files of one project below MODEL_DIR; of a bucket, those that were copied to this machine."""

    settings: Settings
    project: int

    def all(self) -> Iterator[Finding]:
        """A finding for each damaged file, or one that says that there is none."""
        what = f"files of project {self.project}"
        well = True
        try:
            for line in self.damages():
                well = False
                yield Finding(what, False, line)
        except OSError as error:
            yield Finding(what, False, str(error))
            return
        if well:
            yield Finding(what, True, "what is there can be read")

    def damages(self) -> Iterator[str]:
        """A line for each damaged file."""
        yield from self._published()
        yield from store_of(self.settings, self.project).damages()
        place = self.settings.artefacts.local / str(self.project)
        for pattern, check, remedy in self._others():
            for file in sorted(place.glob(pattern)):
                if line := _damage(file, check, remedy):
                    yield line

    def _published(self) -> Iterator[str]:
        published = published_of(self.settings, self.project)
        try:
            if not published.read() and published.history():
                yield f"{published.path} is empty: `mgral rank {self.project}` writes it anew"
        except DamagedError as error:
            yield str(error)
        except FileNotFoundError:
            if published.history():
                yield f"{published.path} is missing: `mgral rank {self.project}` writes it anew"
        live = published.current()
        if live is None or self.settings.artefacts.copied:
            return
        ranking = published.directory / "versions" / live.version / RANKING
        predictions = published.predictions(live.model_version).file
        with suppress(ValueError, OSError):
            ordered = not ranking.exists() or json.loads(ranking.read_bytes())["order"] != []
            for file in (ranking, predictions) if ordered else ():
                if not file.exists():
                    yield f"{file} is missing: `mgral rank {self.project}` makes it anew"

    def _others(self) -> list[tuple[str, Check, str]]:
        """(which files, what reads one of them, the remedy)"""
        anew = ANEW.format(self.project)
        return [
            (BEGUN, _object, "delete it"),
            ("gain_rows.npz", Rows.load, "it is left out, and batches are measured anew"),
            ("versions/*/ranking.json", _object, f"`mgral rank {self.project}` makes it anew"),
            ("versions/*/head.json", _object, f"`mgral rank {self.project}` makes it anew"),
            ("versions/*/review.json", _list, "delete it: the next training finds again what it can"),
            ("curve/*.json", _object, "delete it: the curve is without what it said of a training"),
            ("cross_fitting/*.json", _object, "delete it: the pages are without what it said of a version"),
            ("versions/*/cross_fitting.npz", _arrays, "delete it: two versions are compared on their holdouts"),
            ("versions/*/left_out.json", _object, "delete it: it only says what a training left out"),
            ("versions/*/trained_on.json", _list, "delete it: hindsight starts from a training of its own"),
            ("predictions/*.sqlite", _database, f"delete it; `mgral rank {self.project}` makes the predictions anew"),
            ("pool/*/gathered", _pool, AGAIN),
            ("pool/*/shards/*", _pool, AGAIN),
            ("pool/*/gathered/absorbed.json", _list, AGAIN),
            ("cycles/*/plan.json", lambda file: Plan.load(file.parent), "nothing that it measured is used"),
            ("cycles/*/l*ed.json", _object, anew),
            ("cycles/*/*/survey.json", _object, anew),
            ("cycles/*/*/order.json", _object, anew),
            ("cycles/*/*/shards/*.json", _list, anew),
            ("cycles/*/results/*.json", _object, "the batch that it measured is left out"),
            ("cycles/*/results/*.table", MatchTable.load, "what is compared with it is left out"),
            ("cycles/*/data.json", _object, "nothing is measured for the order"),
            ("cycles/*/*.npz", _arrays, "nothing is measured for the order"),
            ("cycles/*/*.pt", _weights, f"what it was trained for is trained again; {anew}"),
        ]


def _damage(file: Path, check: Check, remedy: str) -> str:
    """What is wrong with a file; "" where nothing is, or where it is being replaced."""
    try:
        with reading(file, remedy):
            check(file)
    except DamagedError as error:
        return str(error)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{file} cannot be read ({error.strerror}): see to its disk and its rights"
    return ""


def _object(file: Path) -> None:
    if not json.loads(file.read_bytes()):
        raise ValueError("nothing is in it")
    if not isinstance(json.loads(file.read_bytes()), dict):
        raise TypeError("no JSON object")


def _list(file: Path) -> None:
    if not isinstance(json.loads(file.read_bytes()), list):
        raise TypeError("no JSON list")


def _database(file: Path) -> set[int]:
    """The tasks that a file of predictions holds."""
    if file.is_dir():
        raise IsADirectoryError("a directory lies in its place")
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as database:
            (said,) = database.execute("PRAGMA quick_check(1)").fetchone()
            database.execute("SELECT task, image, score, result FROM prediction").fetchone()
            tasks = {task for (task,) in database.execute("SELECT task FROM prediction")}
    except sqlite3.OperationalError as error:
        if "locked" in str(error):  # it is being written
            raise FileNotFoundError(file) from error
        raise ValueError(str(error)) from error
    except sqlite3.DatabaseError as error:
        raise ValueError(str(error)) from error
    if said != "ok":
        raise ValueError(said)
    return tasks


def _pool(directory: Path) -> None:
    """Both halves of what a detector saw."""
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    for name in (pool.META, pool.INDEX, pool.ENCODINGS, pool.SUMMARIES, BOXES):
        if not (directory / name).exists():
            raise ValueError(f"{name} is missing")
    with reading(directory / BOXES, AGAIN):
        tasks = _database(directory / BOXES)
    with reading(directory / pool.META, AGAIN):
        pool.read_meta(directory / pool.META)
    ids = pool.check(directory)
    if not tasks.issuperset(ids.tolist()):
        raise ValueError(f"{pool.INDEX} names images of which {BOXES} has no boxes")


def _arrays(file: Path) -> None:
    with np.load(file) as arrays:
        for name in arrays:
            arrays[name]


def _weights(file: Path) -> None:
    if "checkpoint" in file.name:
        content = file.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            raise ValueError("its contents do not match their digest")
    else:
        with zipfile.ZipFile(file) as archive:
            if broken := archive.testzip():
                raise ValueError(f"{broken} in it has another checksum")

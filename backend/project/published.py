"""What a project's annotators see: which version's boxes, in which order, and every prediction that was made.

MODEL_DIR/<project>/published.json            the name under which Label Studio shows it, and the version behind it
MODEL_DIR/<project>/predictions/<name>.sqlite  task -> prediction, so that /predict answers without a model
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from model.atomic import write_file

PredictionRow = tuple[int, str, float, list[dict]]
"""(task id, the image's address, score, regions)"""

MIDDLE = 0.5  # score of a task that came after the ranking: it is expected anywhere, so it takes the middle


@dataclass(frozen=True)
class Publication:
    """One published state.

    Attributes:
        model_version: what Label Studio calls it; a version ranked twice has two.
        version: the model version behind it.
        strategy: what ordered the tasks.
        annotations: how many annotations the project had when it was made.
    """

    model_version: str
    version: str
    strategy: str
    annotations: int


class Published:
    """The published states of one project, newest last; reading needs no lock, because files are replaced whole."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.file = directory / "published.json"

    def history(self) -> list[Publication]:
        """Every publication still known, in the order in which they went live (a rollback goes live again)."""
        if not self.file.exists():
            return []
        return [Publication(**entry) for entry in json.loads(self.file.read_text())]

    def current(self) -> Publication | None:
        """What is live, or None before the first publication."""
        history = self.history()
        return history[-1] if history else None

    def of_version(self, version: str) -> Publication | None:
        """The newest publication of a model version."""
        return next((entry for entry in reversed(self.history()) if entry.version == version), None)

    def next_name(self, version: str) -> str:
        """A name for a new publication of `version`; none contains another, or Label Studio's filter would mix them."""
        used = {int(e.model_version.rpartition("-r")[2]) for e in self.history() if e.version == version}
        return f"{version}-r{max(used, default=0) + 1:03d}"

    def publish(self, publication: Publication) -> None:
        """Make it the live one; atomic."""
        with self._lock():
            others = [entry for entry in self.history() if entry.model_version != publication.model_version]
            self._write([*others, publication])

    def forget(self, model_versions: Iterable[str]) -> None:
        """Drop old publications and their predictions."""
        names = set(model_versions)
        with self._lock():
            self._write([entry for entry in self.history() if entry.model_version not in names])
        for name in names:
            self.predictions_file(name).unlink(missing_ok=True)

    def predictions(self, model_version: str) -> Predictions:
        """The predictions made under a name."""
        return Predictions(self.predictions_file(model_version))

    def predictions_file(self, model_version: str) -> Path:
        """Where they lie."""
        return self.directory / "predictions" / f"{model_version}.sqlite"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with FileLock(self.directory / "published.lock"):
            yield

    def _write(self, entries: list[Publication]) -> None:
        write_file(self.file, json.dumps([asdict(entry) for entry in entries], indent=1).encode())


class Predictions:
    """Predictions by task, on disk. The image's reference is kept with each, so that a changed task is seen."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def put(self, rows: Iterable[PredictionRow]) -> None:
        """Store (task id, image reference, score, regions); an earlier one of the same task is replaced."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.file, timeout=30)) as database, database:
            database.execute(
                "CREATE TABLE IF NOT EXISTS prediction (task INTEGER PRIMARY KEY, image TEXT, score REAL, result TEXT)"
            )
            database.executemany(
                "INSERT OR REPLACE INTO prediction VALUES (?, ?, ?, ?)",
                ((task, image, score, json.dumps(result)) for task, image, score, result in rows),
            )

    def rescore(self, scores: Iterable[tuple[int, float]]) -> None:
        """Set the scores of (task id, score)."""
        with closing(sqlite3.connect(self.file, timeout=30)) as database, database:
            database.executemany("UPDATE prediction SET score = ? WHERE task = ?", ((s, t) for t, s in scores))

    def get(self, tasks: Iterable[int]) -> dict[int, tuple[str, float, list[dict]]]:
        """task id -> (image reference, score, regions), for those that are known."""
        if not self.file.exists():
            return {}
        with closing(sqlite3.connect(self.file, timeout=30)) as database:
            rows = {}
            for task in tasks:
                row = database.execute("SELECT image, score, result FROM prediction WHERE task = ?", (task,)).fetchone()
                if row:
                    rows[task] = (row[0], row[1], json.loads(row[2]))
            return rows

    def __iter__(self) -> Iterator[tuple[int, float, list[dict]]]:
        """Every (task id, score, regions), best place first."""
        with closing(sqlite3.connect(self.file, timeout=30)) as database:
            for task, score, result in database.execute("SELECT task, score, result FROM prediction ORDER BY score"):
                yield task, score, json.loads(result)

    def __len__(self) -> int:
        if not self.file.exists():
            return 0
        with closing(sqlite3.connect(self.file, timeout=30)) as database:
            return database.execute("SELECT COUNT(*) FROM prediction").fetchone()[0]

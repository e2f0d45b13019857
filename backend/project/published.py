"""What a project's annotators see: which version's boxes, in which order, and every prediction that was made.

MODEL_DIR/<project>/published.json            the name under which Label Studio shows it, and the version behind it
MODEL_DIR/<project>/predictions/<name>.sqlite  task -> prediction, so that /predict answers without a model
                               /<name>/*.sqlite  the same where MODEL_DIR is a URL: see `backend.project.predictions`

A published.json that is damaged or lost is read from the versions instead: each keeps its last ranking, and what was
promoted last is live.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from backend.project.predictions import PredictionRow, Predictions
from model.artefacts import Artefacts
from model.atomic import lock_of
from model.damage import DamagedError, reading, warn
from model.versions import VersionStore

__all__ = ["MIDDLE", "PredictionRow", "Predictions", "Publication", "Published"]

FILE, RANKING = "published.json", "ranking.json"
REMEDY = "what is live is read from the versions' rankings, and the next publication writes the file anew"
MIDDLE = 0.5  # score of a task that came after the ranking: it is expected anywhere, so it takes the middle


@dataclass(frozen=True)
class Publication:
    """One published state.

    Attributes:
        model_version: what Label Studio calls it; a version ranked twice has two.
        version: the model version behind it.
        strategy: what ordered the tasks.
        annotations: how many annotations the project had when it was made.
        boxes_by: stands for which of the version's boxes the label config asked for (`backend.project.boxes.outdated`);
            "" where that is not known.
        threshold: MODEL_SCORE_THRESHOLD, where a control of the config relied on it.
        ranked: when the order was made, ISO 8601 in UTC; "" in those of earlier releases.
    """

    model_version: str
    version: str
    strategy: str
    annotations: int
    boxes_by: str = ""
    threshold: float | None = None
    ranked: str = ""


class Published:
    """The published states of one project, newest last; reading needs no lock, because files are replaced whole.

    Below a URL the lock of a writer holds on one machine only: the caller sees to it that a project has one writer.
    """

    def __init__(self, directory: Path, artefacts: Artefacts | None = None) -> None:
        """`artefacts`: what `directory` is a directory of, where that may be a URL."""
        self.directory = directory
        self.artefacts = artefacts or Artefacts(str(directory), directory)
        self._prefix = "" if artefacts is None else f"{directory.relative_to(artefacts.local).as_posix()}/"

    def history(self) -> list[Publication]:
        """Every publication still known, in the order in which they went live (a rollback goes live again)."""
        try:
            if entries := self.read():
                return entries
        except FileNotFoundError:  # so it is before the first publication, too
            pass
        except DamagedError as error:
            warn(str(error))
        return self._rebuilt()

    @property
    def path(self) -> str:
        """Where the file is, for people."""
        return f"{self.artefacts.url}/{self._prefix}{FILE}"

    def read(self) -> list[Publication]:
        """What published.json holds. Raises FileNotFoundError, and DamagedError with a line for people."""
        with reading(self.path, REMEDY):
            entries = json.loads(self.artefacts.read(f"{self._prefix}{FILE}"))
            if not isinstance(entries, list):
                raise TypeError("no list")
            return [_publication(entry) for entry in entries]

    def mend(self) -> bool:
        """Write the file anew where it is damaged or lost; whether it was."""
        with suppress(FileNotFoundError, DamagedError):
            if self.read():
                return False
        live = self.history()
        if not live:
            return False
        with self._lock():
            self._write(live)
        return True

    def current(self) -> Publication | None:
        """What is live, or None before the first publication."""
        history = self.history()
        return history[-1] if history else None

    def of_version(self, version: str) -> Publication | None:
        """The newest publication of a model version."""
        return next((entry for entry in reversed(self.history()) if entry.version == version), None)

    def next_name(self, version: str) -> str:
        """A name for a new publication of `version`; none contains another, or Label Studio's filter would mix them."""
        used = {_number(e.model_version) for e in self.history() if e.version == version}
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
            self.predictions(name).delete()

    def predictions(self, model_version: str) -> Predictions:
        """The predictions made under a name."""
        file = self.directory / "predictions" / f"{model_version}.sqlite"
        if not self.artefacts.copied:
            return Predictions(file)
        if not file.exists() and file.parent.exists():  # new here: make room
            live = {entry.model_version for entry in self.history()}
            for old in file.parent.glob("*.sqlite"):
                if old.stem not in live:
                    old.unlink(missing_ok=True)
        return Predictions(file, self.artefacts, f"{self._prefix}predictions/{model_version}")

    def _rebuilt(self) -> list[Publication]:
        """A publication for each version that keeps a ranking, the one that serves last; at most one of them is."""
        store = VersionStore(self.directory / "versions", self.artefacts)
        rebuilt = {}
        for version in store.list():
            try:
                with reading(f"{version.path / RANKING}", "it is left out"):
                    record = json.loads(store.read(version.name, RANKING))
                    about = {"version": version.name, "annotations": version.images}
                    names = {field.name for field in fields(Publication)}
                    rebuilt[version.name] = _publication(about | {k: v for k, v in record.items() if k in names})
            except DamagedError:  # or there is none, because it was never live
                continue
        serving = store.named()
        if serving in rebuilt:
            rebuilt[serving] = rebuilt.pop(serving)
        return list(rebuilt.values())

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with lock_of(self.directory / "published.lock"):
            self.artefacts.forget()
            yield

    def _write(self, entries: list[Publication]) -> None:
        self.artefacts.write(
            f"{self._prefix}{FILE}", json.dumps([asdict(entry) for entry in entries], indent=1).encode()
        )


def _publication(entry: dict[str, Any]) -> Publication:
    """What `asdict` gave. Raises TypeError where it did not."""
    made = Publication(**entry)
    texts = (made.model_version, made.version, made.strategy, made.boxes_by, made.ranked)
    if not all(isinstance(text, str) for text in texts) or not isinstance(made.annotations, int):
        raise TypeError(f"{entry} is no publication")
    return made


def _number(name: str) -> int:
    """3 of "v0001-r003"."""
    digits = name.rpartition("-r")[2]
    return int(digits) if digits.isdecimal() else 0

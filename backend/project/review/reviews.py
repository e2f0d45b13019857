"""What became of the boxes of each annotated task, kept with the version whose training read the annotations.

The predictions behind it go after a few publications, so what was found is handed on from version to version, until the
annotation is changed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from backend.label_studio.client import Task
from backend.label_studio.config import LabelConfig
from backend.label_studio.lead_times import seconds_of
from backend.project.publish import LABELED
from backend.project.published import Publication, Published
from backend.project.review.changes import Change, Drawn, compare
from model.damage import DamagedError, reading, warn
from model.versions import VersionError, VersionStore

FILE = "review.json"


@dataclass(frozen=True)
class Review:
    """One task's.

    Attributes:
        annotation: id of the annotation that counts.
        updated: when it was changed last, as Label Studio writes it.
        model_version: the publication whose boxes the annotator had.
        version: the model version behind it.
        changes: what became of the boxes.
        by_id: whether region ids told; else it was told by where the boxes lie.
        seconds: that the annotation took; None where Label Studio does not know.
    """

    task: int
    annotation: int
    updated: str
    model_version: str
    version: str
    changes: Counter[Change]
    by_id: bool
    seconds: float | None = None

    @property
    def corrections(self) -> int:
        """Boxes that were not kept as they were."""
        return sum(count for change, count in self.changes.items() if change.kind != "kept")

    def to_json(self) -> list[Any]:
        """For `of_json`."""
        changes = [[*change, count] for change, count in sorted(self.changes.items())]
        about = [self.task, self.annotation, self.updated, self.model_version, self.version]
        return [*about, changes, self.by_id, self.seconds]

    @classmethod
    def of_json(cls, row: Sequence[Any]) -> Review:
        """What `to_json` gave."""
        task, annotation, updated, model_version, version, changes, by_id, seconds = row
        counts = Counter({Change(kind, label, now): int(count) for kind, label, now, count in changes})
        return cls(int(task), int(annotation), updated, model_version, version, counts, bool(by_id), seconds)


@dataclass
class _Told:
    """The publication that explains an annotation best so far."""

    ids: int = -1
    publication: Publication | None = None
    shown: Drawn | None = None


@dataclass(frozen=True, eq=False)
class Reviews:
    """Of all annotated tasks whose annotators had boxes, as far as it is known which.

    Compared by identity, so that what is counted from them can be kept.
    """

    rows: list[Review] = field(default_factory=list)

    def to_json(self) -> bytes:
        """What `read` reads."""
        return json.dumps([row.to_json() for row in self.rows]).encode()


def read(store: VersionStore) -> Reviews:
    """The newest that was kept; none before the first training with this release."""
    for version in reversed(store.list()):
        try:
            with reading(version.path / FILE, "what an earlier training found counts"):
                try:
                    held = store.read(version.name, FILE)
                except VersionError:  # a KeyError, which would count as damage
                    continue
                return _parsed(held)
        except DamagedError as error:
            warn(str(error))
    return Reviews()


@lru_cache(maxsize=4)
def _parsed(held: bytes) -> Reviews:
    """Of 10,000 tasks a tenth of a second's work, for every page."""
    return Reviews([Review.of_json(row) for row in json.loads(held)])


def reviewed(
    annotated: Iterable[tuple[Task, dict]], published: Published, config: LabelConfig, earlier: Reviews
) -> Reviews:
    """Compare annotations with what their annotators were shown.

    A publication in which the task counts as labeled came after the annotation. Of the others, the one whose regions'
    ids the annotation has; where none has them, the newest that was made before the annotation.

    Args:
        annotated: tasks, each with its annotation that counts.
        earlier: stands where nothing is left of what was shown, or the annotation is the same.
    """
    known = {row.task: row for row in earlier.rows}
    found, waiting = {}, {}
    for task, annotation in annotated:
        before = known.get(task.id)
        if before is not None:
            found[task.id] = before
        if before is None or (before.annotation, before.updated) != _key(annotation):
            waiting[task.id] = (annotation, Drawn.of(annotation.get("result"), config), _Told())
    for publication in published.history():
        rows = published.predictions(publication.model_version).of(waiting)
        for task_id, _, score, result in rows:
            annotation, drawn, told = waiting[task_id]
            shown = Drawn.of(result, config)
            ids = drawn.shared(shown)
            came_later = publication.ranked > str(annotation.get("created_at") or "9")
            if score < LABELED and ids >= told.ids and not (came_later and not ids):
                told.ids, told.publication, told.shown = ids, publication, shown
    for task_id, (annotation, drawn, told) in waiting.items():
        if told.publication is not None and told.shown is not None:
            number, updated = _key(annotation)
            changes = compare(told.shown, drawn)
            name, version = told.publication.model_version, told.publication.version
            by_id, seconds = told.ids > 0, seconds_of(annotation)
            found[task_id] = Review(task_id, number, updated, name, version, changes, by_id, seconds)
    return Reviews([found[task_id] for task_id in sorted(found)])


def _key(annotation: dict) -> tuple[int, str]:
    number = annotation.get("id")
    return (number if isinstance(number, int) else 0), str(annotation.get("updated_at") or "")

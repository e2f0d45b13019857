"""What annotators correct: what became of the boxes that they were shown, and from which score on boxes are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from flask import Response
from pydantic import BaseModel, Field

from backend.project.boxes.thresholds import thresholds_of
from backend.project.review.changes import KINDS, Change, counted
from backend.project.review.reviews import Review, Reviews, read
from backend.project.serving import published_of, store_of
from backend.web.api.base import ProjectPath, answer_of, check, topic
from backend.web.api.figures import finite
from backend.web.api.projects import task_url
from backend.web.service import service
from model.versions import VersionError

HARDEST, CONFUSED = 24, 12

routes = topic("corrections", "Corrections: what annotators did with the boxes that they were shown")


class Outcomes(BaseModel):
    """What became of boxes."""

    kept: int = 0
    moved: int = Field(0, description="same label, IoU below .95 with where it was shown")
    relabeled: int = 0
    deleted: int = 0
    added: int = Field(0, description="drawn where no box was shown")
    images: int = Field(description="annotated images that had such boxes")

    @property
    def shown(self) -> int:
        """Boxes that annotators were shown."""
        return self.kept + self.moved + self.relabeled + self.deleted

    @property
    def corrected(self) -> int:
        """Boxes that were not kept as they were."""
        return self.moved + self.relabeled + self.deleted + self.added

    @property
    def kept_share(self) -> float | None:
        """Of the boxes that were shown."""
        return self.kept / self.shown if self.shown else None


class OfClass(Outcomes):
    """Of one label, as it was shown; what was added by the label that was drawn."""

    label: str


class OfVersion(Outcomes):
    """Of the images that were annotated with one version's boxes."""

    version: str


class Confusion(BaseModel):
    """A label that annotators changed."""

    shown: str
    now: str
    boxes: int


class HardImage(BaseModel):
    """An image with many corrections."""

    task: int
    corrections: int
    url: str
    version: str = Field(description="whose boxes were shown")
    seconds: float | None = Field(description="that the annotation took by Label Studio's clock")


class ShownFrom(BaseModel):
    """From which score on boxes of a class of the live version are shown, unless the label config says otherwise."""

    name: str
    threshold: float


class Corrections(BaseModel):
    """What annotators did with the boxes, as far as the last training read the annotations."""

    images: int = Field(description="annotated images of which it is known which boxes were shown")
    by_place: int = Field(description="of these, how many were matched by where boxes lie, for lack of region ids")
    total: Outcomes
    classes: list[OfClass] = Field(description="those with the most corrections first")
    versions: list[OfVersion] = Field(description="oldest first")
    confusions: list[Confusion]
    hardest: list[HardImage]
    version: str | None = Field(description="whose boxes are live, and whose thresholds these are")
    thresholds: list[ShownFrom]
    learned: bool = Field(description="whether the thresholds were learned; else MODEL_SCORE_THRESHOLD counts")
    one_a_place: bool = Field(description="whether of the boxes in one place only the surest is shown")


@routes.get("/projects/<int:project>/corrections", responses={200: Corrections})
def show(path: ProjectPath) -> Response:
    """What annotators did with the boxes that they were shown, and the thresholds of the version that is live."""
    check(path.project)
    return answer_of(corrections_of(path.project))


def corrections_of(project: int) -> Corrections:
    """See `Corrections`."""
    settings = service().settings
    store = store_of(settings, project)
    reviews = read(store)
    counts = _counted(reviews)
    live = published_of(settings, project).current()
    try:
        version = store.get(live.version) if live is not None else None
    except VersionError:
        version = None
    thresholds = thresholds_of(settings, version) if version is not None else None
    names = list(version.label_map) if version is not None else []
    return Corrections(
        images=len(reviews.rows),
        by_place=counts.by_place,
        total=counts.total,
        classes=counts.classes,
        versions=counts.versions,
        confusions=counts.confusions,
        hardest=[_hard(project, row) for row in counts.hardest],
        version=version.name if version is not None else None,
        thresholds=[ShownFrom(name=name, threshold=thresholds.of(name)) for name in names] if thresholds else [],
        learned=bool(thresholds and thresholds.by_class),
        one_a_place=bool(thresholds and thresholds.alone),
    )


@dataclass(frozen=True)
class _Counts:
    """What is counted over all reviews."""

    total: Outcomes
    by_place: int
    classes: list[OfClass]
    versions: list[OfVersion]
    confusions: list[Confusion]
    hardest: list[Review]


@lru_cache(maxsize=4)
def _counted(reviews: Reviews) -> _Counts:
    rows, total = reviews.rows, Counter[Change]()
    for row in rows:
        total.update(row.changes)
    hard = sorted((row for row in rows if row.corrections), key=lambda row: (-row.corrections, row.task))
    return _Counts(
        Outcomes(**_sums([total]), images=len(rows)),
        sum(not row.by_id for row in rows if row.changes),
        _classes(rows, total),
        _versions(rows),
        _confusions(total),
        hard[:HARDEST],
    )


def _classes(rows: Sequence[Review], total: Counter[Change]) -> list[OfClass]:
    images = Counter(label for row in rows for label in {change.label for change in row.changes})
    found = [OfClass(label=label, images=images[label], **kinds) for label, kinds in counted(total).items()]
    return sorted(found, key=lambda one: (-one.corrected, one.label))


def _versions(rows: Sequence[Review]) -> list[OfVersion]:
    names = sorted({row.version for row in rows})
    of = {name: [row for row in rows if row.version == name] for name in names}
    return [OfVersion(version=name, images=len(of[name]), **_sums(row.changes for row in of[name])) for name in names]


def _confusions(total: Counter[Change]) -> list[Confusion]:
    pairs = [(change, count) for change, count in total.items() if change.kind == "relabeled"]
    pairs.sort(key=lambda pair: (-pair[1], pair[0]))
    return [Confusion(shown=change.label, now=change.now, boxes=count) for change, count in pairs[:CONFUSED]]


def _hard(project: int, row: Review) -> HardImage:
    return HardImage(
        task=row.task,
        corrections=row.corrections,
        url=task_url(project, row.task),
        version=row.version,
        seconds=finite(row.seconds),
    )


def _sums(many: Iterable[Counter[Change]]) -> dict[str, int]:
    kinds = Counter(dict.fromkeys(KINDS, 0))
    for changes in many:
        for change, count in changes.items():
            kinds[change.kind] += count
    return dict(kinds)

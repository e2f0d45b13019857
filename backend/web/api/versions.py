"""Model versions: what each learned from and reached, two side by side, and which one serves."""

from __future__ import annotations

import json
import logging
import math
from functools import partial
from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from agent.holdout import FEWEST_BOXES, FEWEST_IMAGES, Compared, Holdout, with_other, with_parent
from agent.holdout import FILE as HOLDOUT
from agent.match.scores import Estimate
from backend.project.left_out import FILE as LEFT_OUT
from backend.project.left_out import LeftOut
from backend.project.serving import published_of, store_of
from backend.web.api import changes
from backend.web.api.answers import Done, Interval, Scores
from backend.web.api.base import ProjectPath, answer_of, check, topic
from backend.web.api.figures import interval, number, scores
from backend.web.faults import Fault
from backend.web.service import service
from model.damage import SIGNS, DamagedError, reading
from model.version import Version
from model.versions import NAME, VersionError, VersionStore

log = logging.getLogger(__name__)

LEARNED_FROM = "trained_on.json"
WAIT_SECONDS = 0.1  # that an answer waits for a comparison

routes = topic("versions", "Model versions: what each learned from and reached, and which one serves")


class VersionPath(ProjectPath):
    """Which version."""

    version: str = Field(description="its name, as v0003-20261122-143100")


class ModelVersion(BaseModel):
    """One model version."""

    name: str
    number: int = Field(description="1, 2, ... in the order of creation")
    created: str = Field(description="ISO 8601, UTC")
    serving: bool
    parent: str | None = Field(description="the version that it was fine-tuned from; null for the starting weights")
    images: int = Field(description="labeled images that it learned from and was measured on")
    note: str = Field(description="why it serves or does not")
    scores: Scores | None = Field(description="null where nothing was held out")
    shown: str | None = Field(description="the newest name under which Label Studio was given its boxes and order")


class Versions(BaseModel):
    """All versions of a project that are kept."""

    versions: list[ModelVersion] = Field(description="the newest first")
    previous: str | None = Field(description="the version that a roll back lets serve")


class LeftOutTasks(BaseModel):
    """Annotated tasks that were not learned from."""

    reason: str
    tasks: list[int]


class VersionDetails(ModelVersion):
    """One version with what it learned from."""

    learned: int | None = Field(description="images that it was trained on; null where that is not kept")
    held_out: int | None = Field(description="images that it was measured on")
    left_out: list[LeftOutTasks]
    classes: list[str] = Field(description="that the detector knows")
    labels: dict[str, str] = Field(description="class of the detector -> label of the project")
    fingerprint: str = Field(description="stands for the labels that it learned from")


class Choice(BaseModel):
    """Which version is to serve."""

    version: str = Field(description="its name")


class Pair(BaseModel):
    """Which versions are compared."""

    ours: str = Field(description="name of the first")
    theirs: str = Field(description="name of the second")


class Difference(BaseModel):
    """One figure of two versions on the same images."""

    name: str = Field(description="of the class; mAP for all")
    ours: float | None
    theirs: float | None
    difference: float | None = Field(description="ours less theirs")
    interval: Interval | None = Field(description="paired: both are scored on the same resamples of the images")
    verdict: str = Field("", description="better, worse, undecided; empty where nothing was compared")


class Comparison(BaseModel):
    """Two versions, class by class."""

    ours: ModelVersion
    theirs: ModelVersion
    state: str = Field(description='"done", "being made" (ask again), or "impossible"')
    why: str = Field(description="what it rests on, or why there is no paired interval")
    rows: list[Difference] = Field(description="mAP first; without paired intervals each version's own figures")
    images: int | None = Field(description="that both were scored on")
    boxes: int | None


@routes.get("/projects/<int:project>/versions", responses={200: Versions})
def index(path: ProjectPath) -> Response:
    """All versions that are kept, the newest first."""
    check(path.project)
    return answer_of(versions_of(path.project))


@routes.get("/projects/<int:project>/versions/<version>", responses={200: VersionDetails})
def show(path: VersionPath) -> Response:
    """One version: its figures by class, and what it learned from."""
    check(path.project)
    return answer_of(version_of(path.project, path.version))


@routes.get("/projects/<int:project>/compare", responses={200: Comparison})
def compare(path: ProjectPath, query: Pair) -> Response:
    """Two versions on the same held-out images, class by class, with paired 95 % intervals."""
    check(path.project)
    return answer_of(comparison_of(path.project, query.ours, query.theirs))


@routes.post("/projects/<int:project>/promote", responses={200: Done})
def promote(path: ProjectPath, body: Choice) -> Response:
    """Let a version serve, and let Label Studio show its boxes and order."""
    check(path.project)
    return answer_of(changes.choose(path.project, known(path.project, body.version).name, "api"))


@routes.post("/projects/<int:project>/roll_back", responses={200: Done})
def roll_back(path: ProjectPath) -> Response:
    """Let the version serve that served before, and let Label Studio show its boxes and order."""
    check(path.project)
    return answer_of(changes.choose(path.project, None, "api"))


def versions_of(project: int) -> Versions:
    """All versions, the newest first."""
    store = _store(project)
    serving, shown = store.named(), _shown(project)
    listed = [_version(version, serving, shown) for version in reversed(store.list())]
    return Versions(versions=listed, previous=store.previous())


def version_of(project: int, name: str) -> VersionDetails:
    """One version. Raises Fault where there is none of that name."""
    version, store = known(project, name), _store(project)
    ids, left_out = _kept(store, name, LEARNED_FROM), _kept(store, name, LEFT_OUT)
    about = _version(version, store.named(), _shown(project))
    return VersionDetails(
        **vars(about),
        learned=len(ids) if isinstance(ids, list) else None,
        held_out=about.scores.images if about.scores else None,
        left_out=_left_out(left_out),
        classes=list(version.names),
        labels=version.label_map,
        fingerprint=version.fingerprint,
    )


def known(project: int, name: str) -> Version:
    """A version. Raises Fault where there is none of that name."""
    if not NAME.fullmatch(name):
        raise Fault(404, "that is no name of a version")
    try:
        return _store(project).get(name)
    except VersionError:
        raise Fault(404, f"project {project} has no version {name}: it was deleted, or never was") from None


def comparison_of(project: int, ours: str, theirs: str) -> Comparison:
    """Two versions. The intervals take some seconds at first: `state` says whether they are there."""
    one, two = known(project, ours), known(project, theirs)
    store = _store(project)
    serving, shown = store.named(), _shown(project)
    about = {"ours": _version(one, serving, shown), "theirs": _version(two, serving, shown)}
    key = (str(one.path), str(two.path))
    rows = _apart(about["ours"].scores, about["theirs"].scores)
    state, why, compared = "impossible", "", None
    try:
        compared = service().comparisons.get(key, partial(_compare, store, one, two), WAIT_SECONDS)
        if compared is None:
            why = "they have no held-out image with the same boxes"
        else:
            state, rows, why = "done", _rows(compared), _basis(one, two, compared)
    except TimeoutError:
        state, why = "being made", "The paired intervals are being computed."
    except VersionError:
        why = "what they found is not kept: one is not trained, had no holdout, or was made by an earlier release"
    except DamagedError as error:
        log.error("%s", error)
        why = "what they found in the held-out images cannot be read any more: train again to compare with intervals"
    return Comparison(
        **about,
        state=state,
        why=why,
        rows=rows,
        images=compared.images if compared else None,
        boxes=compared.boxes if compared else None,
    )


def _compare(store: VersionStore, ours: Version, theirs: Version) -> Compared | None:
    """On the holdout of the training that compared them, else on what their holdouts have in common."""
    if ours.parent == theirs.name:
        return with_parent(_holdout(store, ours.name))
    return with_other(_holdout(store, ours.name), _holdout(store, theirs.name))


def _holdout(store: VersionStore, name: str) -> Holdout:
    with reading(store.root / name / HOLDOUT, "train again to compare with intervals"):
        try:
            return Holdout.of_bytes(store.read(name, HOLDOUT))
        except VersionError as error:  # a KeyError, and no sign of damage here
            missing = error
    raise missing


def _basis(ours: Version, theirs: Version, compared: Compared) -> str:
    number = f"{compared.images:,} held-out images with {compared.boxes:,} boxes"
    both = "on which the training compared them" if ours.parent == theirs.name else "that both trainings held out"
    few = f" {FEWEST_IMAGES} images and {FEWEST_BOXES} boxes are needed to be sure." if not compared.enough else ""
    return f"On the {number} {both}.{few}"


def _rows(compared: Compared) -> list[Difference]:
    first = _difference("mAP", *compared.map, compared.delta.map, compared.enough)
    classes = [
        _difference(name, compared.ours[name], compared.theirs[name], compared.delta.per_class[k], compared.enough)
        for k, name in enumerate(compared.names)
    ]
    return [first, *classes]


def _difference(name: str, ours: float, theirs: float, estimate: Estimate, enough: bool) -> Difference:
    measured = number(ours) is not None and number(theirs) is not None and math.isfinite(estimate.value)
    return Difference(
        name=name,
        ours=number(ours),
        theirs=number(theirs),
        difference=estimate.value if measured else None,
        interval=interval((estimate.low, estimate.high)) if measured else None,
        verdict=_verdict(estimate, enough) if measured else "",
    )


def _verdict(estimate: Estimate, enough: bool) -> str:
    """As for a promotion: only a whole interval says so, and only where it rests on enough."""
    if not enough:
        return "undecided"
    return "better" if estimate.low > 0 else "worse" if estimate.high < 0 else "undecided"


def _apart(ours: Scores | None, theirs: Scores | None) -> list[Difference]:
    """Each version's own figures, which may rest on different images: without differences."""
    first, second = ({row.name: row.ap for row in one.classes} if one else {} for one in (ours, theirs))
    figures = {"mAP": (ours.map if ours else None, theirs.map if theirs else None)}
    figures |= {name: (first.get(name), second.get(name)) for name in dict.fromkeys((*first, *second))}
    return [Difference(name=name, ours=a, theirs=b, difference=None, interval=None) for name, (a, b) in figures.items()]


def _version(version: Version, serving: str | None, shown: dict[str, str]) -> ModelVersion:
    return ModelVersion(
        name=version.name,
        number=version.number,
        created=version.created,
        serving=version.name == serving,
        parent=version.parent,
        images=version.images,
        note=version.note,
        scores=scores(version.metrics),
        shown=shown.get(version.name),
    )


def _shown(project: int) -> dict[str, str]:
    """Version -> its newest publication."""
    return {entry.version: entry.model_version for entry in published_of(service().settings, project).history()}


def _left_out(held: Any) -> list[LeftOutTasks]:
    try:
        tasks = LeftOut.of_json(held).tasks
        return [LeftOutTasks(reason=str(reason), tasks=list(ids)) for reason, ids in tasks.items()]
    except SIGNS:  # nothing is kept, or it is damaged
        return []


def _kept(store: VersionStore, name: str, artefact: str) -> Any:
    """JSON beside a version; None where there is none, or it is damaged."""
    try:
        return json.loads(store.read(name, artefact))
    except SIGNS:  # a VersionError is a KeyError
        return None


def _store(project: int) -> VersionStore:
    return store_of(service().settings, project)

"""Two model versions side by side, class by class, with paired intervals where these can be known."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from functools import partial

from flask import Response
from pydantic import BaseModel, Field

from agent.cross_fitting import FILE as CROSS_FITTING
from agent.holdout import FEWEST_BOXES, FEWEST_IMAGES, Compared, Holdout, with_other, with_parent
from agent.holdout import FILE as HOLDOUT
from agent.match.scores import Estimate
from backend.project.serving import store_of
from backend.web.api.answers import Interval, Scores
from backend.web.api.base import ProjectPath, answer_of, check, topic
from backend.web.api.figures import interval, number
from backend.web.api.versions import Known, ModelVersion, described, known
from backend.web.service import service
from model.damage import DamagedError, reading
from model.version import Version
from model.versions import VersionError, VersionStore

log = logging.getLogger(__name__)

WAIT_SECONDS = 0.1  # that an answer waits for a comparison

routes = topic("comparison", "Two model versions side by side")


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
    interval: Interval | None = Field(
        description="paired: both are scored on the same resamples of the images; null where these are too few"
    )
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


@routes.get("/projects/<int:project>/compare", responses={200: Comparison})
def compare(path: ProjectPath, query: Pair) -> Response:
    """Two versions on the same held-out images, class by class, with paired 95 % intervals."""
    check(path.project)
    return answer_of(comparison_of(path.project, query.ours, query.theirs))


def comparison_of(project: int, ours: str, theirs: str) -> Comparison:
    """Two versions. The intervals take some seconds at first: `state` says whether they are there."""
    one, two = known(project, ours), known(project, theirs)
    store, known_of = store_of(service().settings, project), Known.of(project)
    about = {"ours": described(one, known_of), "theirs": described(two, known_of)}
    key = (str(one.path), str(two.path), *(of.name in known_of.verdicts for of in (one, two)))
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
    """On the holdout of the training that compared them, else on what their holdouts have in common; where that is not
    enough, on all labeled images, if both were cross-fitted."""
    compared = _on(HOLDOUT, store, ours, theirs)
    if compared is not None and compared.enough:
        return compared
    try:
        fitted = _on(CROSS_FITTING, store, ours, theirs)
    except (VersionError, DamagedError):
        return compared
    return replace(fitted, cross_fitted=True) if fitted is not None else compared


def _on(file: str, store: VersionStore, ours: Version, theirs: Version) -> Compared | None:
    if ours.parent == theirs.name:
        return with_parent(_holdout(store, ours.name, file))
    return with_other(_holdout(store, ours.name, file), _holdout(store, theirs.name, file))


def _holdout(store: VersionStore, name: str, file: str) -> Holdout:
    with reading(store.root / name / file, "train again to compare with intervals"):
        try:
            return Holdout.of_bytes(store.read(name, file))
        except VersionError as error:  # a KeyError, and no sign of damage here
            missing = error
    raise missing


def _basis(ours: Version, theirs: Version, compared: Compared) -> str:
    if compared.cross_fitted:
        return (
            f"On {compared.images:,} labeled images with {compared.boxes:,} boxes, cross-fitted: the holdout is too "
            "small, so each image was judged by doubles of both versions that never saw it. mAP is theirs, a little "
            "lower than the versions' own."
        )
    number = f"{compared.images:,} held-out images with {compared.boxes:,} boxes"
    both = "on which the training compared them" if ours.parent == theirs.name else "that both trainings held out"
    few = f" {FEWEST_IMAGES} images and {FEWEST_BOXES} boxes are needed to be sure." if not compared.enough else ""
    return f"On the {number} {both}.{few}"


def _rows(compared: Compared) -> list[Difference]:
    first = _difference("mAP", *compared.map, compared.delta.map, compared.enough)
    classes = [
        _difference(
            name, compared.ours[name], compared.theirs[name], compared.delta.per_class[k], compared.enough_of(name)
        )
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
        interval=interval((estimate.low, estimate.high)) if measured and enough else None,
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

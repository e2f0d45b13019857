"""What labels have brought: mAP over the project's own trainings, and whether estimates of batches came true."""

from __future__ import annotations

from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from agent.holdout import FEWEST_IMAGES
from backend.project.review.cycles import Trained, trainings
from backend.project.serving import store_of
from backend.web.api.answers import Interval
from backend.web.api.base import ProjectPath, answer_of, check, topic
from backend.web.api.figures import finite, interval, number
from backend.web.service import service

NORMAL = 1.96  # standard errors of a 95 % interval

routes = topic("curve", "The curve: what labels have brought, beside what was expected")


class Estimated(BaseModel):
    """The batch that the order before a training asked for."""

    strategy: str = Field(description="whose batch it was")
    gain: float | None = Field(description="ΔmAP that was expected; null where nobody estimated it")
    interval: Interval | None = Field(description="by the refits of the gain table")
    size: int = Field(description="tasks in it")
    labeled: int = Field(description="of these, labeled when the training began")
    others: int = Field(description="labeled since, and not of the batch")


class Training(BaseModel):
    """One training of the project."""

    version: str
    created: str = Field(description="ISO 8601, UTC")
    images: int = Field(description="labeled")
    boxes: int | None
    minutes: float | None = Field(description="of annotators, by Label Studio's clock; null where it gave no times")
    map: float | None
    interval: Interval | None
    held_out: int = Field(description="images that it was measured on")
    gain: float | None = Field(description="ΔmAP over the version that served, on the same holdout")
    gain_interval: Interval | None = Field(description="null where too few images are held out to know it")
    promoted: bool
    batch: Estimated | None = Field(description="null where it is not known, as of an earlier release")


class Curve(BaseModel):
    """All trainings that are known, oldest first."""

    trainings: list[Training]
    compared: int = Field(description="trainings with an estimated gain, and an observed one whose error is known")
    inside: int = Field(description="of these, how often both 95 % intervals meet")
    error: float | None = Field(description="mean of observed less estimated gain; null where none can be compared")


@routes.get("/projects/<int:project>/curve", responses={200: Curve})
def show(path: ProjectPath) -> Response:
    """mAP over labels and minutes, and the estimated beside the observed gain of each batch."""
    check(path.project)
    return answer_of(curve_of(path.project))


def curve_of(project: int) -> Curve:
    """See `Curve`."""
    settings = service().settings
    found = [_training(one) for one in trainings(settings.artefacts, project, store_of(settings, project))]
    pairs = [
        (one.gain, one.gain_interval, one.batch.gain, one.batch.interval)
        for one in found
        if one.gain is not None and one.gain_interval and one.batch is not None and one.batch.gain is not None
    ]
    meets = [_meet(observed, expected) for _, observed, _, expected in pairs]
    errors = [gain - estimate for gain, _, estimate, _ in pairs if estimate is not None]
    error = sum(errors) / len(errors) if errors else None
    return Curve(trainings=found, compared=len(pairs), inside=sum(meets), error=error)


def _training(one: Trained) -> Training:
    batch, known = one.batch, (finite(one.held_out) or 0) >= FEWEST_IMAGES
    return Training(
        version=one.version,
        created=one.created,
        images=one.images,
        boxes=one.boxes,
        minutes=one.minutes,
        map=number(one.map),
        interval=_around(one.map, one.map_error) if known else None,
        held_out=one.held_out,
        gain=finite(one.gain[0]) if one.gain else None,
        gain_interval=_around(*one.gain) if one.gain and known else None,
        promoted=one.promoted,
        batch=Estimated(
            strategy=batch.strategy,
            gain=finite(batch.estimate[0]) if batch.estimate else None,
            interval=_around(*batch.estimate) if batch.estimate else None,
            size=batch.size,
            labeled=batch.labeled,
            others=batch.others,
        )
        if batch
        else None,
    )


def _around(value: Any, error: Any) -> Interval | None:
    if not isinstance(value, int | float) or not isinstance(error, int | float):
        return None
    return interval((value - NORMAL * error, value + NORMAL * error))


def _meet(one: Interval | None, other: Interval | None) -> bool:
    return one is not None and other is not None and one.low <= other.high and other.low <= one.high

"""The order that annotators get: the next batch with its boxes and reasons, any task by its number, small pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

from flask import Response, current_app, url_for
from pydantic import BaseModel, Field

from backend.label_studio.client import Studio
from backend.label_studio.downloads import Limits
from backend.label_studio.images import Pictures
from backend.project.review import order as orders
from backend.project.review.thumbnails import thumbnail
from backend.project.serving import published_of, store_of
from backend.web.api.base import ProjectPath, answer_of, check, topic
from backend.web.api.figures import edges, finite, number
from backend.web.api.projects import task_url
from backend.web.faults import LATER, Fault
from backend.web.service import service
from model.data.images import ImageError

log = logging.getLogger(__name__)

PAGE, MOST = 24, 100  # tasks of one answer
THUMBNAIL_SECONDS = 10.0
PICTURES = "mgral_pictures"
JPEG: dict[str, Any] = {
    "description": "a JPEG",
    "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
}

routes = topic("order", "The order: the next batch, why, and where a task stands")


class TaskPath(ProjectPath):
    """Which task."""

    task: int = Field(description="its id in Label Studio", ge=1)


class Places(BaseModel):
    """Which places of the order."""

    offset: int = Field(0, ge=0, description="places to pass over")
    limit: int = Field(PAGE, ge=1, le=MOST, description="tasks to list")


class ShownBox(BaseModel):
    """A box as annotators are shown it, in percent of the image's sides."""

    label: str
    score: float | None
    x: float
    y: float
    width: float
    height: float


class RankedTask(BaseModel):
    """One task of the order."""

    task: int
    place: int | None = Field(description="from 1 on; null of a task that is labeled, or came after the ranking")
    in_batch: bool = Field(description="whether it is of the next batch")
    labeled: bool | None = Field(
        description="whether it holds an annotation; null where Label Studio does not say so now"
    )
    score: float | None = Field(description="the strategy's own scale; null where it is not kept")
    reason: str
    url: str = Field(description="the task in Label Studio")
    thumbnail: str = Field(description="address of a small JPEG, made when it is asked for")
    width: int | None = Field(description="of the image in pixels; null where no box tells it")
    height: int | None
    boxes: list[ShownBox]
    nearest_labeled: int | None = Field(description="the labeled task that looks most alike")
    nearest_selected: int | None = Field(description="the task of the batch that looks most alike")
    unusual: dict[str, float] = Field(description="what sets it apart, in standard deviations of the pool")


class BatchGain(BaseModel):
    """What the batch of one strategy is expected to bring."""

    strategy: str
    gain: float = Field(description="ΔmAP")
    error: float = Field(description="standard deviation over the gain table's refits")
    chosen: bool


class Copies(BaseModel):
    """Shares of the pool that are nearly the same picture as others."""

    of_labeled: float = Field(description="as a labeled one")
    of_others: float = Field(description="as another one that is not labeled")


class LiveOrder(BaseModel):
    """The order that is live."""

    model_version: str = Field(description="under which Label Studio shows it")
    version: str
    ranked: str | None = Field(description="ISO 8601, UTC; null of an earlier release")
    strategy: str = Field(description="whose order it is")
    asked: str | None = Field(description="the strategy that was asked for")
    why: str | None
    rho: float | None = Field(description="rank correlation of estimated with measured gains of batches held out")
    rho_interval: list[float] | None
    measured: int = Field(description="measured batches behind the estimates")
    budget: int = Field(description="tasks of the next batch")
    count: int = Field(description="tasks in order")
    listed: int = Field(description="tasks that can be listed; others are found by their id")
    gains: list[BatchGain]
    copies: Copies | None
    twins: float | None = Field(None, description="share of the images that are frames of one scene with another")
    counted: str | None = Field(None, description="what an image counts for: doubt, or boxes that are expected in it")
    tasks: list[RankedTask]


@routes.get("/projects/<int:project>/order", responses={200: LiveOrder})
def show(path: ProjectPath, query: Places) -> Response:
    """The order that is live, with the tasks of some places."""
    check(path.project)
    found = order_of(path.project, query.offset, query.limit)
    if found is None:
        raise Fault(404, "nothing is in order yet: the first ranking makes one")
    return answer_of(found)


@routes.get("/projects/<int:project>/order/<int:task>", responses={200: RankedTask})
def task(path: TaskPath) -> Response:
    """One task, wherever it stands."""
    check(path.project)
    return answer_of(task_of(path.project, path.task))


@routes.get("/projects/<int:project>/order/<int:task>/thumbnail", responses={200: JPEG})
def picture(path: TaskPath) -> Response:
    """A small picture of a task: JPEG, its longer side at most 320 pixels."""
    check(path.project)
    response = Response(picture_of(path.project, path.task), mimetype="image/jpeg")
    response.headers["Cache-Control"] = "private, max-age=3600"
    return response


def order_of(project: int, offset: int, limit: int) -> LiveOrder | None:
    """The order that is live; None before the first."""
    order = _order(project)
    if order is None:
        return None
    with order.reading():
        record, live = order.record, order.live
        copies = record.get("copies")
        placed = order.tasks(offset, offset + limit)
        labeled = service().labeled_among(project, [one.task for one in placed])
        return LiveOrder(
            model_version=live.model_version,
            version=live.version,
            ranked=live.ranked or None,
            strategy=live.strategy,
            asked=record.get("asked"),
            why=record.get("why"),
            rho=finite(record.get("rho")),
            rho_interval=edges(record.get("rho_interval")),
            measured=sum((record.get("rows") or {}).values()),
            budget=order.budget,
            count=order.count,
            listed=len(record["order"]),
            gains=gains_of(record),
            copies=Copies(**copies) if copies else None,
            twins=finite(record.get("twins")),
            counted=record.get("counted"),
            tasks=[_ranked(project, order, one, labeled) for one in placed],
        )


def task_of(project: int, task: int) -> RankedTask:
    """One task. Raises Fault where the order does not have it."""
    order = _order(project)
    if order is not None:
        with order.reading():
            if (found := order.find(task)) is not None:
                return _ranked(project, order, found, service().labeled_among(project, [task]))
    raise Fault(404, f"task {task} is not in the order of project {project}: is it of this project, and predicted?")


def picture_of(project: int, task: int) -> bytes:
    """JPEG. Raises Fault where the project has no such task, or its image cannot be read."""
    published = published_of(service().settings, project)
    live = published.current()
    held = published.predictions(live.model_version).get([task]) if live is not None else {}
    if task not in held:
        raise Fault(404, f"project {project} has no task {task} that is predicted")
    try:
        return thumbnail(_pictures(), task, held[task][0])
    except ImageError as error:
        raise Fault(404, str(error), LATER) from None


def gains_of(record: Mapping[str, Any]) -> list[BatchGain]:
    """What each strategy's batch is expected to bring, the best first; none where no gain model was asked."""
    found = [
        BatchGain(strategy=name, gain=gain, error=error, chosen=name == record.get("strategy"))
        for name, (gain, error) in (record.get("gains") or {}).items()
    ]
    return sorted(found, key=lambda one: -one.gain)


def _order(project: int) -> orders.Order | None:
    settings = service().settings
    return orders.order_of(store_of(settings, project), published_of(settings, project))


def _ranked(project: int, order: orders.Order, one: orders.Placed, labeled: Set[int] | None) -> RankedTask:
    facts = one.facts
    size = one.regions[0] if one.regions else {}
    return RankedTask(
        task=one.task,
        place=one.place,
        in_batch=one.place is not None and one.place <= order.budget,
        labeled=None if labeled is None else one.task in labeled,
        score=one.score,
        reason=one.reason,
        url=task_url(project, one.task),
        thumbnail=url_for("api_order.picture", project=project, task=one.task),
        width=size.get("original_width"),
        height=size.get("original_height"),
        boxes=[box for region in one.regions if (box := _box(region)) is not None],
        nearest_labeled=facts.get("nearest_labeled"),
        nearest_selected=facts.get("nearest_selected"),
        unusual=facts.get("descriptors") or {},
    )


def _box(region: Mapping[str, Any]) -> ShownBox | None:
    value = region.get("value") or {}
    labels = value.get("rectanglelabels") or [""]
    sides = [value.get(name) for name in ("x", "y", "width", "height")]
    if any(not isinstance(side, int | float) for side in sides):
        return None
    x, y, width, height = (float(side or 0) for side in sides)
    return ShownBox(label=str(labels[0]), score=number(region.get("score")), x=x, y=y, width=width, height=height)


def _pictures() -> Pictures:
    """The process's."""
    held: Pictures | None = current_app.extensions.get(PICTURES)
    if held is None:
        settings = service().settings
        limits = Limits.of(settings)
        limits = replace(limits, seconds=min(limits.seconds, THUMBNAIL_SECONDS))
        held = Pictures(Studio.shared(settings), settings.cache_dir, settings.cache_gb, limits)
        current_app.extensions[PICTURES] = held
    return held

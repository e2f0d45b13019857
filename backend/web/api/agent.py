"""The agent: how its policy learned, what its gain table says, what was measured, and where images lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Response
from pydantic import BaseModel, Field, FiniteFloat

from agent.gain.rows import Rows
from backend.project.review import order as orders
from backend.project.serving import published_of, store_of
from backend.web.api.base import ProjectPath, answer_of, check, topic
from backend.web.api.figures import edges, finite
from backend.web.api.order import BatchGain, gains_of
from backend.web.service import service
from model.damage import DamagedError, warn

ROWS = "gain_rows.npz"
KINDS = {"l": "labeled", "n": "next batch", "r": "rest"}

routes = topic("agent", "The agent: how it learned, and what it was taught by")


class Update(BaseModel):
    """How good the policy was."""

    update: int
    value: float = Field(description="lower bound of the gain of the batch that it picks from a fixed sample")


class Cell(BaseModel):
    """Images that look alike."""

    images: int = Field(description="of the pool")
    task: int = Field(description="the one in its middle")
    gains: list[FiniteFloat] = Field(description="ΔmAP of so many of its images, by `counts`", min_length=1)


class ClassCurve(BaseModel):
    """A class."""

    name: str
    boxes: FiniteFloat = Field(description="learned from already")
    half: FiniteFloat = Field(description="boxes at which its AP is one half")
    gains: list[FiniteFloat] = Field(description="ΔmAP of so many boxes more, by `counts`", min_length=1)


class GainTable(BaseModel):
    """What any batch is worth: a sum over cells and classes."""

    counts: list[int]
    cells: list[Cell]
    classes: list[ClassCurve]


class Measured(BaseModel):
    """A batch whose gain was measured."""

    cycle: int
    source: str = Field(description="hindsight, surrogate or cycle")
    group: str = Field(description="batches that were measured against the same control")
    images: int
    boxes: float = Field(description="expected")
    gain: float = Field(description="ΔmAP over the control")
    error: float | None = Field(description="standard error; null where it is not known")


class Point(BaseModel):
    """An image on the map."""

    task: int
    x: float
    y: float
    kind: str = Field(description="labeled, next batch or rest")


class PoolMap(BaseModel):
    """Images as points of a plane, near to each other where the detector sees much the same."""

    points: list[Point]
    explained: float = Field(description="share of the variance of the encodings that the plane shows")


class Agent(BaseModel):
    """What is known of the agent behind the order that is live; null or empty where it was not asked."""

    strategy: str | None
    why: str | None
    model: str | None = Field(description="table or net: which model of gains is believed")
    rho: float | None
    rho_interval: list[float] | None
    gains: list[BatchGain]
    learning_curve: list[Update]
    table: GainTable | None
    measured: list[Measured] = Field(description="the newest first")
    map: PoolMap | None


@routes.get("/projects/<int:project>/agent", responses={200: Agent})
def show(path: ProjectPath) -> Response:
    """How the policy learned, its gain table, what was measured, and a map of the pool."""
    check(path.project)
    return answer_of(agent_of(path.project))


def agent_of(project: int) -> Agent:
    """See `Agent`."""
    settings = service().settings
    order = orders.order_of(store_of(settings, project), published_of(settings, project))
    if order is None:
        return _agent(project, {})
    with order.reading():
        return _agent(project, order.record)


def _agent(project: int, record: Mapping[str, Any]) -> Agent:
    table, places = record.get("table"), record.get("map")
    return Agent(
        strategy=record.get("strategy"),
        why=record.get("why"),
        model=record.get("model"),
        rho=finite(record.get("rho")),
        rho_interval=edges(record.get("rho_interval")),
        gains=gains_of(record),
        learning_curve=[
            Update(update=int(at), value=value)
            for at, value in record.get("learning_curve") or ()
            if finite(value) is not None
        ],
        table=GainTable(**table) if table else None,
        measured=_measured(project),
        map=_map(places) if places else None,
    )


def _measured(project: int) -> list[Measured]:
    try:
        rows = Rows.load(service().settings.artefacts.pull(f"{project}/{ROWS}"))
    except FileNotFoundError:
        return []
    except DamagedError as error:
        warn(str(error))
        return []
    found = [
        Measured(
            cycle=row.cycle,
            source=row.source,
            group=row.group,
            images=len(row.ids),
            boxes=round(sum(row.boxes.values()), 1),
            gain=row.gain,
            error=row.error or None,
        )
        for row in rows
    ]
    return sorted(found, key=lambda one: (-one.cycle, one.source, one.group))


def _map(places: Mapping[str, Any]) -> PoolMap:
    rows = zip(places["tasks"], places["x"], places["y"], places["kinds"], strict=True)
    points = [Point(task=task, x=x, y=y, kind=KINDS[kind]) for task, x, y, kind in rows]
    return PoolMap(points=points, explained=places["explained"])

"""The pages of a project's order, its curve, its agent, and of what annotators correct."""

from __future__ import annotations

from flask import Response, redirect, request, url_for
from werkzeug.wrappers import Response as Answer

from backend.web.api.agent import KINDS, Agent, agent_of
from backend.web.api.base import check
from backend.web.api.corrections import corrections_of
from backend.web.api.curve import Curve, curve_of
from backend.web.api.order import PAGE, order_of, task_of
from backend.web.pages.base import page, pages
from backend.web.pages.charts import Line, Mark, Plot
from backend.web.pages.scatter import Heat, Scatter
from backend.web.schemas import DIGITS

LEAST = 4  # points of a learning curve that are worth a line


@pages.get("/projects/<int:project>/order")
def order(project: int) -> Response | Answer:
    """The next batch in order; with ?task=17, from the search field, that task."""
    check(project)
    sought = request.args.get("task", "").strip().removeprefix("#")
    if sought.isascii() and sought.isdigit() and len(sought) <= DIGITS:
        return redirect(url_for("pages.task", project=project, task=int(sought)), 303)
    offset = max(0, request.args.get("offset", 0, int))
    found = order_of(project, offset, PAGE)
    return page("order.html", project=project, order=found, offset=offset, limit=PAGE)


@pages.get("/projects/<int:project>/order/<int:task>")
def task(project: int, task: int) -> Response:
    """Where one task stands, and why."""
    check(project)
    return page("task.html", project=project, one=task_of(project, task), tab="pages.order")


@pages.get("/projects/<int:project>/corrections")
def corrections(project: int) -> Response:
    """What annotators did with the boxes."""
    check(project)
    return page("corrections.html", project=project, held=corrections_of(project))


@pages.get("/projects/<int:project>/curve")
def curve(project: int) -> Response:
    """What labels have brought."""
    check(project)
    held = curve_of(project)
    return page("curve.html", project=project, held=held, plots=plots_of(held), scale=scale_of(held))


@pages.get("/projects/<int:project>/agent")
def agent(project: int) -> Response:
    """How the agent learned."""
    check(project)
    held = agent_of(project)
    cells, classes = heats(held)
    shown = {"learning": learning(held), "cells": cells, "classes": classes, "places": places_of(held)}
    largest = max((abs(row.gain) + 2 * (row.error or 0.0) for row in held.measured), default=0.0)
    return page("agent.html", project=project, held=held, scale=max(largest, 1e-3), **shown)


def plots_of(curve: Curve) -> list[Plot]:
    """mAP over labeled images, and over minutes where those are known."""
    measured = [one for one in curve.trainings if one.map is not None]
    axes = [("labeled images", [(float(one.images), one) for one in measured])]
    axes.append(("minutes of annotators", [(one.minutes, one) for one in measured if one.minutes is not None]))
    plots: list[Plot] = []
    for name, points in axes:
        marks = [
            Mark(
                x,
                one.map or 0.0,
                one.interval.low if one.interval else None,
                one.interval.high if one.interval else None,
                f"{one.version}: mAP {one.map:.3f}",
            )
            for x, one in sorted(points, key=lambda point: point[0])
        ]
        if len(marks) > (1 if plots else 0):  # a single time says nothing
            plots.append(Plot(f"mAP over {name}", name, "mAP", [Line("mAP on the holdout", marks)]))
    return plots


def scale_of(curve: Curve) -> float:
    """The largest gain that is shown, for the bars' common scale."""
    pairs = [(one.gain, one.gain_interval) for one in curve.trainings]
    pairs += [(one.batch.gain, one.batch.interval) for one in curve.trainings if one.batch is not None]
    edges = [abs(edge) for _, around in pairs if around is not None for edge in (around.low, around.high)]
    return max([abs(gain) for gain, _ in pairs if gain is not None] + edges + [1e-3])


def learning(agent: Agent) -> Plot | None:
    """How good the policy's batch became while it learned."""
    marks = [
        Mark(float(one.update), one.value, text=f"update {one.update}: {one.value:+.5f}")
        for one in agent.learning_curve
    ]
    if len(marks) < LEAST:
        return None
    title = "Gain of the batch that the policy picks from a fixed sample"
    return Plot(title, "updates", "lower bound of ΔmAP", [Line("policy", marks)], y_from=None)


def heats(agent: Agent) -> tuple[Heat | None, Heat | None]:
    """The gain table by cells and by classes."""
    if agent.table is None:
        return None, None
    cells = sorted(agent.table.cells, key=lambda cell: -cell.gains[-1])
    classes = sorted(agent.table.classes, key=lambda one: -one.gains[-1])
    return Heat.of([cell.gains for cell in cells], cells), Heat.of([one.gains for one in classes], classes)


def places_of(agent: Agent) -> Scatter | None:
    """The map of the pool; the next batch is drawn last, on top."""
    if agent.map is None or not agent.map.points:
        return None
    kinds = [KINDS[letter] for letter in "rln"]
    groups = {kind: [point for point in agent.map.points if point.kind == kind] for kind in kinds}
    return Scatter.of({kind: [(p.x, p.y, p.task) for p in points] for kind, points in groups.items()})

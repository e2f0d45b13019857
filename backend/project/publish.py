"""Making a ranking live: one bulk import, one switch of boxes and order; and going back to an earlier state."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from agent.strategies import Ranking
from backend.label_studio.client import Studio
from backend.project.published import Publication, Published
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from model.progress import Report
from model.versions import Version, VersionStore

log = logging.getLogger(__name__)

LABELED = 1.0  # score of a task that is labeled already: last in the order


def scores(ranking: Ranking) -> list[tuple[int, float]]:
    """(task id, score in (0, 1)) in the ranking's order: Label Studio serves the lowest score first.

    Scores are places, not priorities, so that no two are equal and the order is exactly the ranking's.
    """
    count = len(ranking.order)
    return [(int(task), (place + 0.5) / count) for place, task in enumerate(ranking.order)]


def items(predictions: Iterable[tuple[int, float, list[dict]]], model_version: str) -> list[dict]:
    """What Label Studio's bulk import takes, of (task id, score, regions)."""
    return [
        {"task": task, "result": result, "score": score, "model_version": model_version}
        for task, score, result in predictions
    ]


def publish(
    studio: Studio,
    project: int,
    store: VersionStore,
    published: Published,
    publication: Publication,
    say: Callable[[str], None],
    report: Report,
) -> None:
    """Import what was predicted under `publication`, then make its version serve and switch Label Studio to it.

    A crash before the switch leaves the last state live; what was imported in vain is deleted by the next try.
    """
    name = publication.model_version
    if studio.model_versions(project).get(name):
        studio.delete_predictions(project, name)
    batch = items(published.predictions(name), name)
    stored, gone = studio.import_predictions(project, batch, len(batch), report)
    if gone:
        say(f"{len(gone)} tasks were deleted meanwhile and are left out")
    serving = store.serving()
    if serving is None or serving.name != publication.version:
        store.promote(publication.version)
    published.publish(publication)
    studio.switch(project, name)
    say(f"live: {stored} tasks under {name}, ordered by {publication.strategy}")


def clean_up(
    studio: Studio, project: int, store: VersionStore, published: Published, settings: Settings
) -> tuple[list[str], list[str]]:
    """Drop what is older than the settings keep; returns (predictions deleted from Label Studio, versions deleted)."""
    old = [entry.model_version for entry in published.history()[: -settings.keep_predictions]]
    held = studio.model_versions(project)
    for name in old:
        if held.get(name):
            studio.delete_predictions(project, name)
    published.forget(old)
    return old, store.prune(settings.keep_versions)


def go_to(studio: Studio, jobs: Jobs, project: int, published: Published, version: Version, annotations: int) -> str:
    """Show the boxes and the order of another version of the project. Returns one line that says how.

    At once where Label Studio still holds its predictions; otherwise a ranking job makes them.
    """
    entry = published.of_version(version.name)
    if entry is not None and studio.model_versions(project).get(entry.model_version):
        published.publish(Publication(entry.model_version, entry.version, entry.strategy, annotations))
        studio.switch(project, entry.model_version)
        jobs.enqueue("predict", project)
        return f"project {project} shows {entry.model_version}"
    job, _ = jobs.enqueue("rank", project)
    return f"version {version.name} serves; its predictions are being made by job {job.id}"

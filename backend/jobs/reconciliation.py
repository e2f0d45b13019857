"""The job "reconcile": what lost events should have started."""

from __future__ import annotations

import logging

from backend.label_studio.client import Studio, StudioAway, StudioError
from backend.project.published import Published
from backend.queue.enqueue import Jobs
from backend.settings import Settings, get_settings

log = logging.getLogger(__name__)


def reconcile() -> None:
    """Find what lost events should have started: unpredicted tasks, and enough new annotations."""
    settings = get_settings()
    jobs = Jobs(settings)
    try:
        studio = Studio.from_settings(settings)
        for folder in sorted(settings.model_dir.glob("*/published.json")):
            project = int(folder.parent.name)
            try:
                _reconcile(settings, jobs, studio, project)
            except StudioAway:
                raise
            except StudioError as error:  # one project that is gone must not stop the others
                log.warning("project %d: %s", project, error)
    finally:
        jobs.schedule_reconcile(settings.reconcile_seconds)


def _reconcile(settings: Settings, jobs: Jobs, studio: Studio, project: int) -> None:
    live = Published(settings.model_dir / str(project)).current()
    if live is None:
        return
    count = studio.project(project)["total_annotations_number"]
    if due(settings, jobs, project, count):
        log.info("project %d has %d annotations: training", project, count)
        jobs.enqueue("train", project)
    elif next(studio.without_prediction(project, live.model_version), None) is not None:
        jobs.enqueue("predict", project)


def due(settings: Settings, jobs: Jobs, project: int, annotations: int) -> bool:
    """Whether enough annotations came since the last training for one to start by itself."""
    every = settings.start_training_each_n_updates
    if not every:
        return False
    live = Published(settings.model_dir / str(project)).current()
    return annotations - max(jobs.attempted(project), live.annotations if live else 0) >= every

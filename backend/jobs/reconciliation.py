"""The job "reconcile": what lost events should have started, and what is live against what Label Studio shows."""

from __future__ import annotations

import logging

from backend.label_studio.client import Studio, StudioAway
from backend.label_studio.labels import LabelConfig
from backend.project.boxes.outdated import outdated
from backend.project.serving import known_projects, published_of, serving_of, store_of
from backend.project.shown import mend
from backend.project.unreadable import Unreadable
from backend.queue.enqueue import Jobs
from backend.queue.figures import Figures
from backend.queue.recovery import recover
from backend.settings import Settings, get_settings

log = logging.getLogger(__name__)


def reconcile() -> None:
    """Look after every project. What is wrong with one, whatever it is, keeps the others from nothing."""
    settings = get_settings()
    jobs = Jobs(settings)
    studio = Studio.from_settings(settings)
    for project in known_projects(settings):
        try:
            for line in _reconcile(settings, jobs, studio, project):
                log.info("project %d: %s", project, line)
        except StudioAway as error:
            log.warning("reconciling waits: %s", error)
            return
        except Exception as error:  # a damaged file, a project that is gone
            log.warning("project %d was not reconciled: %s", project, error, exc_info=not isinstance(error, OSError))


def _reconcile(settings: Settings, jobs: Jobs, studio: Studio, project: int) -> list[str]:
    said = recover(jobs, project)
    published, store = published_of(settings, project), store_of(settings, project)
    with jobs.exclusive(project):  # not between the steps of a publication
        if published.mend():
            said.append("published.json was lost or damaged: what is live was read from the rankings, and written anew")
        serving_of(store, published)  # mends serving.json
    live = published.current()
    if live is None:
        return said
    with jobs.exclusive(project):
        mended = mend(studio, project, published)
    if mended is not None:
        said.append(mended)
    serving = store.named()  # damaged or not: the order that is shown stays until somebody chooses another version
    if serving is not None and serving != live.version and jobs.head(project) is None:
        jobs.enqueue("rank", project)
        said.append(f"{serving} serves, but {live.version} is shown: a ranking with it is asked for")
    info = studio.project(project)
    figures = Figures(jobs.connection, settings.queue_name)
    figures.see(project, info["task_number"], info["num_tasks_with_annotations"], shown=mended is None)
    count, config = info["total_annotations_number"], LabelConfig.parse(info["label_config"])
    base = _base(settings, jobs, project)
    if count < base:
        jobs.note_fewer(project, base, count)
    if due(settings, jobs, project, count):
        jobs.enqueue("train", project)
        said.append(f"{count} annotations: training")
    elif outdated(settings, project, config) and jobs.head(project) is None:
        jobs.enqueue("rank", project)
        said.append("the label config or the threshold asks for other boxes now: a ranking is asked for")
    elif Unreadable(jobs, project, config.data_key).due(studio.without_prediction(project, live.model_version)):
        jobs.enqueue("predict", project)
    return said


def due(settings: Settings, jobs: Jobs, project: int, annotations: int) -> bool:
    """Whether enough annotations came since the last training for one to start by itself."""
    every = settings.start_training_each_n_updates
    if not every:
        return False
    return annotations - jobs.fewest(project, _base(settings, jobs, project)) >= every


def _base(settings: Settings, jobs: Jobs, project: int) -> int:
    """How many annotations the last training saw, or what is live."""
    live = published_of(settings, project).current()
    return max(jobs.attempted(project), live.annotations if live else 0)

"""The jobs that a worker runs: train, rank, predict, reconcile. Each is safe to run again after a crash."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

from agent import variants
from agent.cycle import rank as order
from agent.gain.rows import Rows
from agent.learning import has_boxes, learn
from agent.strategies.mgral import UNTRUSTED, Mgral
from backend.jobs.fanout import run_claimed
from backend.jobs.inner_loop import Trained
from backend.project.publish import items
from backend.project.published import Published
from backend.queue.enqueue import Jobs
from backend.jobs.ranking import rank_and_publish
from backend.jobs.running import JobError, running
from backend.project.serving import detector_of, first_version
from backend.settings import Settings, get_settings
from backend.label_studio.client import Studio, StudioAway, StudioError
from model.atomic import remove

log = logging.getLogger(__name__)


def train(project: int) -> dict:
    """Learn from the annotations, then rank and publish with the better model.

    What is finished before a crash is kept in `Published.directory / "cycle"`, and not done again.
    """
    with running("train", project) as work:
        work.jobs.note_attempt(project, work.annotations)
        labeled = work.labeled_tasks()
        folder = work.published.directory / "cycle"
        dataset = work.dataset(labeled, folder / "images")
        if not has_boxes(dataset):
            raise JobError(
                f"project {project} has no boxes to learn from ({len(labeled)} annotated tasks): draw some with "
                f"the labels {', '.join(work.config.labels)}, then start training again"
            )
        serving = first_version(work.store, work.settings, work.config)
        learned = learn(folder, work.store, serving, detector_of(serving), dataset, work.cycle.fit, work.progress)
        work.progress.say(f"{learned.version.name}: {learned.reason}")
        if learned.metrics:
            work.progress.say(str(learned.metrics))
        result = rank_and_publish(work, labeled, Trained(learned, dataset, folder))
        remove(folder)
    if work.jobs.take_again(project) and work.studio.project(project)["total_annotations_number"] > work.annotations:
        work.jobs.enqueue("train", project)
    return {**result, "version": learned.version.name, "promoted": learned.promote, "reason": learned.reason}


def variant(project: int, folder: str, index: int) -> str:  # noqa: ARG001  the project is for people
    """Train one variant of a project's cycle, unless it is done or the cycle is over."""
    path = Path(folder)
    return run_claimed(Jobs(get_settings()), path, index, variants.run, partial(variants.done, path))


def rank(project: int) -> dict:
    """Order the tasks with the serving model; without any label, by coverage."""
    with running("rank", project) as work:
        return rank_and_publish(work, work.labeled_tasks())


def predict(project: int) -> dict:
    """Predict the tasks that have no prediction of the live version, and put them into its order."""
    with running("predict", project) as work:
        live = work.published.current()
        if live is None:
            return rank_and_publish(work, work.labeled_tasks())
        work.progress("fetch", 0, 1)
        tasks = list(work.studio.without_prediction(project, live.model_version))
        known = work.published.predictions(live.model_version).get(task.id for task in tasks)
        images = {task.id: task.data.get(work.config.data_key) for task in tasks}
        ready = {task: row for task, row in known.items() if row[0] == images[task]}
        fresh = [task for task in tasks if task.id not in ready]
        version = work.store.get(live.version)
        pool = work.look(fresh, set(), version)
        # the agent learns a whole pool's order; a few late tasks are put in by the strategy that stands in for it
        strategy = UNTRUSTED if live.strategy == Mgral.name else live.strategy
        ranking = order(pool, Rows(), 0, replace(work.cycle, strategy=strategy), work.progress)
        stored = work.keep(live.model_version, pool, ranking)
        rows = ready | stored.get(int(task) for task in ranking.order)
        batch = items(((task, score, result) for task, (_, score, result) in rows.items()), live.model_version)
        count, _ = work.studio.import_predictions(project, batch, len(batch), partial(work.progress, "import"))
        work.progress.say(f"predicted {count} tasks under {live.model_version}")
        return {"predicted": count, "failed": work.failed, "model_version": live.model_version}


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

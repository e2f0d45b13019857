"""The job "train": learn from the annotations, then rank and publish with the better model."""

from __future__ import annotations

import logging

from agent.learning import learn
from backend.jobs.inner_loop import Trained
from backend.jobs.ranking import rank_and_publish
from backend.jobs.running import JobError, running
from backend.project.serving import detector_of, first_version
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
        if not dataset.boxes:
            raise JobError(
                f"project {project} has no boxes to learn from ({len(labeled)} annotated tasks): draw some with "
                f"the labels {', '.join(work.config.labels)}, then start training again"
            )
        serving = first_version(work.store, work.settings, work.config)
        learned = learn(
            folder, work.store, serving, detector_of(serving), dataset, work.config_of_cycle.fit, work.progress
        )
        work.progress.say(f"{learned.version.name}: {learned.reason}")
        if learned.metrics:
            work.progress.say(str(learned.metrics))
        result = rank_and_publish(work, labeled, Trained(learned, dataset, folder))
        remove(folder)
    if work.jobs.take_again(project) and work.studio.project(project)["total_annotations_number"] > work.annotations:
        work.jobs.enqueue("train", project)
    return {**result, "version": learned.version.name, "promoted": learned.promote, "reason": learned.reason}

"""An installation in one process: MODEL_DIR, a queue whose jobs run here, a Label Studio that remembers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rq import Queue, SimpleWorker
from rq.job import Job

from backend.project import serving
from backend.queue.enqueue import Jobs
from backend.queue.job import Json, MgralJob, MgralQueue, part_of
from backend.queue.progress import describe
from backend.settings import Settings
from tests.studio import HeldProject, HeldStudio

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="red"/><Label value="blue"/></RectangleLabels></View>'
)
IMAGES = 26
LABELED = 22  # so that hindsight has two halves to play with
TRAINING: dict[str, Any] = {
    "train_epochs": 1,
    "train_min_steps": 1,
    "budget": 2,
    "mgral_hindsight": 2,
    "mgral_surrogates": 0,
    "mgral_steps": 1,
    "mgral_time_budget": 1000,
    "seed": 1,
}


class InProcess(SimpleWorker):
    """A worker that runs jobs in this process."""

    job_class = MgralJob
    queue_class: type[Queue] = MgralQueue

    def execute_job(self, job: Job, queue: Queue) -> None:
        """With no detector in memory: each job has a process of its own."""
        serving._detectors = type(serving._detectors)()
        super().execute_job(job, queue)


@dataclass
class Installation:
    """MODEL_DIR, a queue and a Label Studio that remembers."""

    settings: Settings
    studio: HeldStudio

    def work(self, until: str = "") -> None:
        """Run the jobs that wait, or those before the first that calls `backend.jobs.<until>`."""
        jobs = Jobs(self.settings)
        logging.getLogger("rq.worker").setLevel(logging.ERROR)
        while waiting := [job for queue in jobs.queues for job in queue.jobs]:
            if until and part_of(waiting[0]) == until:
                return
            worker = InProcess(jobs.queues, connection=jobs.connection, serializer=Json)
            worker.work(burst=True, max_jobs=1 if until else None)

    def run(self, kind: str, project: int = 1, until: str = "") -> dict[str, Any]:
        """Ask for a job, and let it and all that follows from it run; what became of it."""
        job, _ = Jobs(self.settings).enqueue(kind, project, anew=True)
        self.work(until)
        return describe(job)


def label(held: HeldProject) -> None:
    """Two annotators have drawn the squares of the first tasks."""
    for number in list(held.images)[:LABELED]:
        value = {"x": 20, "y": 20, "width": 50, "height": 50, "rectanglelabels": ["red" if number % 2 else "blue"]}
        region: dict[str, Any] = {"from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}
        region |= {"original_width": 64, "original_height": 64}
        held.annotations[number] = [{"id": number, "result": [region], "was_cancelled": False}]


def settings_of(folder: Path, redis_url: str, studio: HeldStudio) -> Settings:
    """Settings of an installation below `folder`, for trainings of one update."""
    return Settings(
        _env_file=None,
        redis_url=redis_url,
        queue_name=folder.name,
        model_dir=str(folder / "models"),
        cache_dir=folder / "cache",
        label_studio_url=studio.url,
        label_studio_api_key="0" * 40,
        weights="starter",
        image_size=64,
        **TRAINING,
    )

"""What reconciling mends of the queue: what a dead worker, a corrected clock or a Redis without its data left."""

from __future__ import annotations

import json
from datetime import timedelta

from rq.job import Job, JobStatus
from rq.utils import now

from backend.queue.enqueue import BEGUN, HEADS, Jobs
from backend.queue.graph import Graph
from backend.queue.job import part_of
from model.damage import SIGNS

LOST_SECONDS = 60  # a job that is queued but in no queue for so long was popped by a worker that died then


def recover(jobs: Jobs, project: int) -> list[str]:
    """Mend what is left of a project's jobs; returns a line for each thing that was wrong."""
    said = []
    heads = [jobs.head(project), jobs.last("train", project), jobs.active("predict", project)]
    for job in (job for head in heads if head is not None for job in Graph.of(head).jobs()):
        queue, status = jobs.queue_of(part_of(job)), job.get_status()
        if status == JobStatus.QUEUED and job.id not in queue.job_ids and _age(job) > LOST_SECONDS:
            queue.push_job_id(job.id)
            said.append(f"job {job.id} was lost on its way to a worker: it waits again")
        if status == JobStatus.SCHEDULED and job.meta.get("pause") is not None:
            due = queue.scheduled_job_registry.get_scheduled_time(job)
            if due > now() + timedelta(seconds=job.meta["pause"] + LOST_SECONDS):  # the clock was ahead
                queue.scheduled_job_registry.remove(job)
                queue.enqueue_job(job)
                said.append(
                    f"job {job.id} was to wait until {due:%Y-%m-%d %H:%M}, which no pause explains: it waits no more"
                )
    jobs.advance(project)
    begun = _begin_again(jobs, project)
    if begun is not None:
        said.append(f"Redis has forgotten a cycle that had begun: {begun.meta['kind']} is asked for again")
    return said


def _begin_again(jobs: Jobs, project: int) -> Job | None:
    """Enqueue the cycle that had begun, where Redis does not know of it.

    Where Redis knows that it ended, which a job that was killed could not note, it is noted: Redis will forget it too.
    """
    if any(jobs.last(kind, project) is not None for kind in HEADS):
        if jobs.settings.artefacts.exists(f"{project}/{BEGUN}") and jobs.head(project) is None:
            jobs.note_end(project)
        return None
    try:
        kind = json.loads(jobs.settings.artefacts.read(f"{project}/{BEGUN}"))["kind"]
    except (FileNotFoundError, *SIGNS):  # damaged: the next cycle writes it anew
        return None
    return jobs.enqueue(kind, project)[0] if kind in HEADS else None


def _age(job: Job) -> float:
    """Seconds since a job was put into its queue."""
    return abs((now() - (job.enqueued_at or job.created_at)).total_seconds())

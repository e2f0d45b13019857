"""Jobs of a project: what waits and runs, what became of the last ones, and trying a failed one again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import Response
from pydantic import BaseModel, Field
from rq.exceptions import DeserializationError, NoSuchJobError
from rq.job import Job

from backend.queue.enqueue import KINDS, Jobs
from backend.queue.graph import Graph
from backend.queue.job import Json, MgralJob
from backend.web.api import changes
from backend.web.api.answers import Asked, Work
from backend.web.api.base import ProjectPath, answer_of, check, topic
from backend.web.api.projects import work
from backend.web.faults import Fault
from backend.web.service import service

ID = re.compile(r"[A-Za-z0-9_.-]{1,200}")
SHOWN = 20  # of the history

routes = topic("jobs", "Jobs: what waits and runs, what became of the last ones")


class JobPath(ProjectPath):
    """Which job."""

    job: str = Field(description="its id")


class JobList(BaseModel):
    """The jobs of a project; a training and a ranking stand for the whole cycle."""

    active: list[Work] = Field(description="what runs, then what waits")
    history: list[Work] = Field(description="what has ended within seven days, the newest first; twenty at most")


class JobDetails(Work):
    """A job with its parts."""

    parts: list[Work] = Field(description="the jobs of the cycle, in the order in which they were added")
    retry: bool = Field(description="whether the same work can be asked for again")


@routes.get("/projects/<int:project>/jobs", responses={200: JobList})
def index(path: ProjectPath) -> Response:
    """What waits and runs, and what became of the last jobs."""
    check(path.project)
    return answer_of(jobs_of(path.project))


@routes.get("/projects/<int:project>/jobs/<job>", responses={200: JobDetails})
def show(path: JobPath) -> Response:
    """One job: how far it is, what it said, and why it failed."""
    check(path.project)
    return answer_of(job_of(path.project, path.job))


@routes.post("/projects/<int:project>/jobs/<job>/retry", responses={200: Asked})
def retry(path: JobPath) -> Response:
    """Ask for the same work again; what a failed training had finished is not done twice."""
    check(path.project)
    return answer_of(try_again(path.project, path.job, "api"))


def jobs_of(project: int) -> JobList:
    """What waits and runs, and the last that ended."""
    with service().queue() as jobs:
        heads = [jobs.head(project), jobs.active("predict", project), jobs.following(project)]
        active = [job for job in heads if job is not None]
        newest = jobs.history(project, SHOWN + len(active))
        older = [job for kind in KINDS if (job := jobs.last(kind, project)) is not None]  # of an earlier release
        ended = [job for job in dict.fromkeys((*newest, *older)) if job not in active]
        ended.sort(key=lambda job: job.created_at, reverse=True)
        return JobList(active=list(map(work, active)), history=list(map(work, ended[:SHOWN])))


def job_of(project: int, job_id: str) -> JobDetails:
    """One job with its parts. Raises Fault where the project has no such job."""
    with service().queue() as jobs:
        job = _find(jobs, project, job_id)
        told = work(job)
        parts = _parts(job)
    return JobDetails(**vars(told), parts=parts, retry=told.bad and told.kind in KINDS)


def try_again(project: int, job_id: str, via: changes.Via) -> Asked:
    """Ask for the work of a job again. Raises Fault where it has not ended, or is only a part of something."""
    details = job_of(project, job_id)
    if not details.retry or details.kind is None:
        raise Fault(409, f"job {job_id} is no training, ranking or prediction that failed: nothing to try again")
    return changes.ask(details.kind, project, via, retry=job_id)


def _find(jobs: Jobs, project: int, job_id: str) -> Job:
    try:
        if ID.fullmatch(job_id):
            job = MgralJob.fetch(job_id, connection=jobs.connection, serializer=Json)
            if job.meta.get("project") == project:
                return job
    except (NoSuchJobError, DeserializationError, ValueError, KeyError):  # or none of ours
        pass
    raise Fault(404, f"project {project} has no job {job_id[:80]}: jobs are kept for seven days")


def _parts(job: Job) -> list[Work]:
    """What a cycle consists of; the head is told as its first part. Nothing for what is no cycle."""
    parts: Sequence[Job] = Graph.of(job).jobs()
    if "head" in job.meta or len(parts) < 2:
        return []
    return [work(part) for part in parts[1:]]

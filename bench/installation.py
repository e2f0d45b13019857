"""What the benches of the product share: a real installation, projects in it, and what the jobs of a cycle took."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rq.job import Job

from backend.commands.annotator import Annotator
from backend.commands.local import LocalStack
from backend.commands.watch import watch
from backend.label_studio.client import Studio
from backend.project.connect import connect
from backend.queue.enqueue import Jobs
from backend.queue.graph import Graph
from backend.queue.job import AFTERWARDS, part_of
from model.data.dataset import Dataset

CONSOLE = Console(file=sys.stderr, soft_wrap=True)  # the last line of the output is JSON


class BenchError(RuntimeError):
    """A cycle that was to be measured did not end well; one line."""


class JobTimes(NamedTuple):
    """When a job waited and ran, in seconds since its cycle was asked for."""

    name: str
    part: str
    worker: str
    queued: float
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it ran."""
        return self.ended - self.began


class Installation:
    """Label Studio, Redis and the backend, with the settings of `environment`. The bench starts the workers."""

    def __init__(self, stack: LocalStack, environment: dict[str, str]) -> None:
        self.stack, self.environment = stack, environment
        self.settings = stack.settings(**environment)
        self.studio, self.jobs = Studio.from_settings(self.settings), Jobs(self.settings)

    def start_worker(self, name: str, **extra: str) -> None:
        """`mgral work`, with other settings than the backend's where `extra` says so."""
        say(f"starting {name}")
        self.stack.start_worker(name, **self.environment | extra)

    def project(self, title: str, truth: Dataset) -> tuple[int, Annotator]:
        """A connected project with the images of `truth`, whose first order is being made, and who labels them."""
        annotator = Annotator(self.studio, truth)
        project = annotator.create_project(title)
        annotator.upload(project, truth.images, lambda done: say(f"uploaded {done} of {len(truth)}"))
        connect(self.studio, self.settings, project, self.stack.backend_url, self.jobs)
        return project, annotator

    def ended(self, kind: str, project: int) -> Job:
        """The newest job of a kind, once it has ended. Raises BenchError unless it ended well."""
        job = self.jobs.last(kind, project)
        if job is None:
            raise BenchError(f"nobody asked for a {kind} of project {project}")
        if fault := watch(job, CONSOLE):
            raise BenchError(f"{kind} of project {project}: {fault}")
        return job


@contextmanager
def installation(**environment: str) -> Iterator[Installation]:
    """A fresh installation without workers; its data is deleted at the end."""
    directory = Path(tempfile.mkdtemp(prefix="mgral-bench-"))
    try:
        with LocalStack(directory) as stack:
            say("starting Redis, Label Studio and the backend")
            stack.start_redis()
            stack.start_label_studio()
            stack.start_backend(**environment)
            stack.wait_for_label_studio()
            yield Installation(stack, environment)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def timeline(head: Job) -> list[JobTimes]:
    """What the jobs of a cycle took until the order was live, in the order in which they began."""
    jobs = [job for job in Graph.of(head).jobs() if part_of(job) not in AFTERWARDS]
    start = head.created_at

    def since(moment: datetime | None) -> float:
        if moment is None:
            raise BenchError(f"the cycle {head.id} has not ended")
        return (moment - start).total_seconds()

    times = [
        JobTimes(
            job.id.removeprefix(f"{head.id}-") if job.id != head.id else part_of(job),
            part_of(job),
            (job.worker_name or "")[:8],
            since(job.enqueued_at),
            since(job.started_at),
            since(job.ended_at),
        )
        for job in jobs
    ]
    return sorted(times, key=lambda job: job.began)


def report(title: str, jobs: Sequence[JobTimes]) -> None:
    """When each job waited and ran."""
    print(f"{title:24}{'worker':>10}{'waited':>9}{'began at':>10}{'ran':>8}")
    for job in jobs:
        print(f"{job.name:24}{job.worker:>10}{job.began - job.queued:9.1f}{job.began:10.1f}{job.seconds:8.1f}")
    parts: dict[str, float] = defaultdict(float)
    for job in jobs:
        parts[job.part] += job.seconds
    end = max(job.ended for job in jobs)
    print("seconds by kind: " + ", ".join(f"{part} {seconds:.1f}" for part, seconds in parts.items()))
    print(f"from the press to the live order: {end:.1f} s\n", flush=True)


def say(text: str) -> None:
    """How far a bench is."""
    CONSOLE.print(text, highlight=False, markup=False)

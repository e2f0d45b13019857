"""What workers leave in Redis for whoever watches: how long jobs took, how many images, what Label Studio showed.

A job's process ends with the job, so nobody can ask it. What it counted is added to one hash, whose fields are
"job/<part>/<outcome>/<upper bound in seconds>" (a histogram, each bucket for itself, and "sum"), and
"image/<outcome>"; what was last seen of a project is JSON in another. A Redis that is away costs the figures, and
nothing else.
"""

from __future__ import annotations

import json
import logging
import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import redis
from rq.exceptions import DeserializationError, InvalidJobOperation
from rq.job import Job, JobStatus
from rq.utils import as_text

from backend.queue.job import FUNCTIONS, part_of

log = logging.getLogger(__name__)

BOUNDS = (1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800, 36000)
"""Upper bounds of the buckets of a job's duration, in seconds; what took longer is in the bucket "inf"."""
OUTCOMES = {
    JobStatus.FINISHED: "finished",
    JobStatus.FAILED: "failed",
    JobStatus.STOPPED: "stopped",
    JobStatus.CANCELED: "stopped",
}
AGAIN = "again"  # a fault that passes, a worker that was told to stop, or a process that died


@dataclass(frozen=True)
class Sight:
    """What reconciling last saw of a project in Label Studio.

    Attributes:
        tasks, labeled: how many there are, and how many of them hold an annotation that is no skip.
        shown: whether Label Studio showed what is live; where it did not, that was set right.
        when: seconds since 1970.
    """

    tasks: int
    labeled: int
    shown: bool
    when: float


@dataclass(frozen=True)
class Durations:
    """A histogram: `counts[i]` jobs took at most `BOUNDS[i]` seconds and more than the bound before; the last took
    longer than all."""

    counts: tuple[int, ...]
    sum: float


class Figures:
    """The figures of one installation. Writing never raises; reading raises redis.RedisError."""

    def __init__(self, connection: redis.Redis, queue_name: str) -> None:
        self.connection = connection
        self.counts, self.sights = f"mgral:{queue_name}:figures", f"mgral:{queue_name}:sights"

    def job(self, job: Job, seconds: float) -> None:
        """A worker is done with a job, for now or for good."""
        bound = next((bound for bound in BOUNDS if seconds <= bound), "inf")
        try:
            key = f"job/{_part(job)}/{_outcome(job)}"
            with self.connection.pipeline() as pipeline:
                pipeline.hincrby(self.counts, f"{key}/{bound}", 1)
                pipeline.hincrbyfloat(self.counts, f"{key}/sum", round(seconds, 3))
                pipeline.execute()
        except redis.RedisError as error:
            log.warning("the duration of job %s was not noted: %s", job.id, error)

    def images(self, counted: dict[str, int]) -> None:
        """Images that a job counted, by outcome."""
        if not any(counted.values()):
            return
        try:
            with self.connection.pipeline() as pipeline:
                for outcome, count in counted.items():
                    pipeline.hincrby(self.counts, f"image/{outcome}", count)
                pipeline.execute()
        except redis.RedisError as error:
            log.warning("how many images were fetched was not noted: %s", error)

    def see(self, project: int, tasks: int, labeled: int, *, shown: bool) -> None:
        """Note what Label Studio said of a project."""
        sight = Sight(tasks, labeled, shown, time.time())
        try:
            self.connection.hset(self.sights, str(project), json.dumps(asdict(sight)))
        except redis.RedisError as error:
            log.warning("what Label Studio shows of project %d was not noted: %s", project, error)

    def read(self) -> tuple[dict[tuple[str, str], Durations], dict[str, int]]:
        """(durations by part and outcome, images by outcome)."""
        jobs: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
        images: dict[str, int] = {}
        for field, value in self.connection.hgetall(self.counts).items():
            match as_text(field).split("/"):
                case ["job", part, outcome, bound]:
                    jobs[part, outcome][bound] = float(value)
                case ["image", outcome]:
                    images[outcome] = int(value)
        bounds = [*map(str, BOUNDS), "inf"]
        return {
            key: Durations(tuple(int(held.get(bound, 0)) for bound in bounds), held.get("sum", 0.0))
            for key, held in jobs.items()
        }, images

    def seen(self) -> dict[int, Sight]:
        """What was last seen of each project; what is damaged counts as never seen."""
        found = {}
        for project, text in self.connection.hgetall(self.sights).items():
            try:
                found[int(project)] = _sight(json.loads(text))
            except (TypeError, ValueError):
                continue
        return found


def _part(job: Job) -> str:
    """One of ours; what strangers wrote into Redis has no name of its own."""
    try:
        return part_of(job) if job.func_name in FUNCTIONS else "unknown"
    except DeserializationError:
        return "unknown"


def _outcome(job: Job) -> str:
    try:
        return OUTCOMES.get(job.get_status(), AGAIN)
    except InvalidJobOperation:  # it has ended and is forgotten already, as what repeats is
        return OUTCOMES[JobStatus.FINISHED]


def _sight(held: Any) -> Sight:
    sight = Sight(**held)
    return Sight(int(sight.tasks), int(sight.labeled), bool(sight.shown), float(sight.when))

r"""A cycle as a graph of RQ jobs: its head, and what the jobs of the cycle added while they ran.

    train -> survey -> scan 1..n -> plan -> variant 1..k -> rank -> publish -> cross-fit -> clean up
        \-> hindsight ------------/

A job adds the next ones before it ends, because only then their number is known. RQ's `depends_on` holds them back,
RQ's retries repeat what a killed worker left. RQ's own `Group` reads jobs by pickle only, so the ids are in a list of
ours.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import redis
from rq.job import Job, JobStatus
from rq.utils import as_text

from backend.queue.job import AFTERWARDS, PARTS, Json, MgralJob, part_of
from backend.redaction import redact

ACTIVE = {
    JobStatus.CREATED,
    JobStatus.QUEUED,
    JobStatus.STARTED,
    JobStatus.SCHEDULED,
    JobStatus.DEFERRED,
    JobStatus.READY_TO_ENQUEUE,
}
KEEP_SECONDS = 7 * 24 * 3600  # how long an ended job can be asked about
WEIGHTS = {"train": 39, "survey": 3, "scan": 8, "hindsight": 6, "plan": 2, "variant": 32, "rank": 8, "publish": 4}
"""The usual share of the time that each kind of job takes, for the time left"""
MAY_FAIL = ("hindsight", "scan", "variant", *AFTERWARDS)  # the cycle goes on without them
CANCELLED = "cancelled"


class CycleCancelledError(RuntimeError):
    """The cycle was cancelled, so no job is added to it any more."""


class Graph:
    """The jobs of one cycle. Every method raises redis.RedisError where Redis is away."""

    def __init__(self, connection: redis.Redis, head: str) -> None:
        self.connection, self.head = connection, head
        self.key = f"mgral:graph:{head}"

    @classmethod
    def of(cls, job: Job) -> Graph:
        """The graph that a job belongs to."""
        return cls(job.connection, job.meta.get("head", job.id))

    def check(self) -> None:
        """Raise CycleCancelledError where the cycle was cancelled."""
        if self.connection.exists(f"{self.key}:{CANCELLED}"):
            raise CycleCancelledError(f"the cycle {self.head} was cancelled")

    def note(self, job: Job) -> None:
        """Remember a job as one of the cycle. Raises CycleCancelledError."""
        self.check()
        with self.connection.pipeline() as pipeline:
            pipeline.rpush(self.key, job.id)
            pipeline.expire(self.key, KEEP_SECONDS)
            pipeline.execute()

    def close(self) -> None:
        """From now on no job can be added."""
        self.connection.set(f"{self.key}:{CANCELLED}", 1, ex=KEEP_SECONDS)

    def jobs(self) -> list[Job]:
        """The head and what was added to it, in that order; without those that Redis does not know any more."""
        ids = [self.head, *(as_text(name) for name in self.connection.lrange(self.key, 0, -1))]
        jobs = MgralJob.fetch_many(dict.fromkeys(ids), connection=self.connection, serializer=Json)
        return [job for job in jobs if job is not None]

    def active(self, but: str | None = None) -> list[Job]:
        """What waits or runs and has to be done before the cycle has ended, but for the job of that id."""
        return [
            job
            for job in self.jobs()
            if part_of(job) not in AFTERWARDS and job.id != but and job.get_status(refresh=False) in ACTIVE
        ]


def summary(jobs: Sequence[Job]) -> dict[str, Any]:
    """How far a cycle is, as one job would tell it.

    Args:
        jobs: of the graph, the head first.
    """
    by_part: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        part = part_of(job)
        if part in WEIGHTS:
            by_part[part].append(job)
    status = _status(by_part)
    part, now = _at(by_part)
    share = _share(by_part, part) if status != "finished" else 1.0
    stages: dict[str, float] = defaultdict(float)
    for job in jobs:
        for stage, seconds in job.meta.get("stages", {}).items():
            stages[stage] = round(stages[stage] + seconds, 1)
    result: dict[str, Any] = {}
    for job in jobs if status == "finished" else ():
        returned = job.return_value()
        result |= returned if isinstance(returned, dict) else {}
    lines = [line for job in jobs for line in job.meta.get("log", [])]
    after = (part_of(job) for job in jobs if part_of(job) in AFTERWARDS and job.get_status(refresh=False) in ACTIVE)
    return {
        "status": status,
        "share": round(share, 4),
        "stages": dict(stages),
        "log": [text for _, text in sorted(lines)],
        "error": next((error for job in reversed(jobs) if _matters(job) and (error := error_of(job))), None),
        "result": result,
        "after": next(after, None),
        **_stage(part, now, by_part[part]),
    }


def error_of(job: Job) -> str | None:
    """The line that says why a job failed, or is tried again; where its process ended without one, what RQ says."""
    if error := job.meta.get("error"):
        return error
    result = job.latest_result() if job.get_status(refresh=False) == JobStatus.FAILED else None
    said = str(result.exc_string or "").strip() if result is not None else ""
    if not said:
        return None
    return redact(f"{said.splitlines()[-1]} (if its process was killed, it takes more memory than there is)")


def _status(by_part: dict[str, list[Job]]) -> str:
    jobs = [job for part in by_part.values() for job in part]
    states = {job.get_status(refresh=False) for job in jobs}
    if states & ACTIVE:
        if JobStatus.STARTED in states or JobStatus.FINISHED in states:
            return "scheduled" if states & ACTIVE == {JobStatus.SCHEDULED} else "started"
        return _value(jobs[0])
    failed = [job for job in jobs if _matters(job) and job.get_status(refresh=False) == JobStatus.FAILED]
    if by_part["publish"] and _value(by_part["publish"][-1]) == "finished":
        return "finished"
    if failed:
        return "failed"
    if JobStatus.STOPPED in states or (JobStatus.CANCELED in states and len(jobs) > 1):
        return "stopped"
    return "canceled" if JobStatus.CANCELED in states else "failed"


def _at(by_part: dict[str, list[Job]]) -> tuple[str, Job | None]:
    """The part that a cycle has come to, and the job that tells most of it: the one that began last."""
    reached = [part for part in PARTS if any(_value(job) not in ("deferred", "canceled") for job in by_part[part])]
    before = [job for part in ("train", "survey", "scan") for job in by_part[part]]
    if reached[-1:] == ["hindsight"] and any(_value(job) in ("queued", "started", "scheduled") for job in before):
        reached.pop()  # it runs beside these, and is told of where it alone is waited for
    part = reached[-1] if reached else next((part for part in PARTS if by_part[part]), "survey")
    running = [job for job in by_part[part] if _value(job) == "started"]
    jobs = running or by_part[part]
    return part, jobs[-1] if jobs else None


def _share(by_part: dict[str, list[Job]], part: str) -> float:
    """Of the parts that belong to this cycle."""
    whole = {name: weight for name, weight in WEIGHTS.items() if name != "train" or by_part["train"]}
    if not by_part["train"]:
        whole = {name: weight for name, weight in whole.items() if name not in ("plan", "variant")}
    if not by_part["hindsight"]:
        whole.pop("hindsight", None)
    before = sum(weight for name, weight in whole.items() if PARTS.index(name) < PARTS.index(part))
    shares = [1.0 if _value(job) in ("finished", "failed") else job.meta.get("share", 0.0) for job in by_part[part]]
    here = sum(shares) / len(shares) if shares else 0.0
    return (before + whole.get(part, 0) * here) / sum(whole.values())


def _stage(part: str, job: Job | None, jobs: Sequence[Job]) -> dict[str, Any]:
    """What people read: of a job's own stage, or how many of several jobs are done."""
    meta = job.meta if job is not None else {}
    figures = meta.get("figures", {})
    if part == "scan":
        done, total = (sum(other.meta.get(name, 0) for other in jobs) for name in ("done", "total"))
        return {"stage": "scan", "done": done, "total": total, "figures": figures}
    if part == "variant":
        controls = [other for other in jobs if other.meta.get("control")]
        stage, group = "controls", controls
        if all(_value(other) in ("finished", "failed") for other in controls):
            stage, group = "variants", [other for other in jobs if not other.meta.get("control")]
        done = sum(_value(other) in ("finished", "failed") for other in group)
        figures = {"workers": sum(_value(other) == "started" for other in group)}
        return {"stage": stage, "done": done, "total": len(group), "figures": figures}
    return {
        "stage": meta.get("stage", ""),
        "done": meta.get("done", 0),
        "total": meta.get("total", 0),
        "figures": figures,
    }


def _matters(job: Job) -> bool:
    return part_of(job) not in MAY_FAIL


def _value(job: Job) -> str:
    status = job.get_status(refresh=False)
    return status.value if status else "gone"

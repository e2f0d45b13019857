"""How far a job is: written into its `meta` by who runs it, told from there to people and pages."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import redis
from rq.job import Job, JobStatus
from rq.utils import as_text
from rq.utils import now as utc_now

from backend.queue import interruption
from backend.queue.graph import ACTIVE, Graph, error_of, summary
from backend.queue.job import AFTERWARDS, part_of
from backend.redaction import redact
from model.progress import Interrupted

log = logging.getLogger(__name__)

LINES = 200  # that are kept with a job
UNABLE = (redis.ConnectionError, redis.TimeoutError, redis.ResponseError)
"""What a Redis says that is away, or takes no writes for a while: it is full, a replica, or cannot save."""


class HandedBackError(Interrupted):
    """The worker was told to stop: the job goes back to the queue with what it reached."""


class LostError(Interrupted):
    """Redis does not know that this process works on the job: it lost its data, or gave the job to somebody else."""


class Progress:
    """Writes a job's progress into its `meta`, at most twice a second. Calling it is a `model.progress.Watch`.

    It is also where a job learns that it is to end: calling it raises HandedBackError or LostError. While Redis is away
    the work goes on, and nothing is written.

    `stages` are the stages with their usual share of the time, from which the share done and the time left follow.
    """

    def __init__(self, job: Job | None, stages: Mapping[str, float]) -> None:
        self.job, self.stages = job, stages
        self.whole = sum(stages.values())
        self.started = self.stage_started = time.monotonic()
        self.saved = 0.0
        self.stage = ""
        if job is not None:
            job.meta.update({"log": job.meta.get("log", []), "stages": {}, "error": None, "pause": None})

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None:
        """`done` of `total` units of `stage` are finished. Raises HandedBackError, LostError."""
        if interruption.asked():
            raise HandedBackError("the worker was told to stop")
        now = time.monotonic()
        fresh = stage != self.stage
        if fresh:
            self._close_stage(now)
            self.stage, self.stage_started = stage, now
        if self.job is None or (not fresh and now - self.saved < 0.5 and done < total):
            return
        names = list(self.stages)
        before = sum(self.stages[name] for name in names[: names.index(stage)]) if stage in names else 0.0
        share = (before + self.stages.get(stage, 0.0) * done / max(total, 1)) / self.whole
        elapsed = now - self.started
        self.job.meta.update(
            stage=stage,
            done=done,
            total=total,
            share=round(share, 4),
            seconds_left=round(elapsed * (1 - share) / share) if share > 0.02 else None,
            figures={name: round(float(value), 4) for name, value in figures.items()},
        )
        self.saved = now
        self.check()
        self._save()

    def check(self) -> None:
        """Raise LostError unless Redis says that this worker holds the job; done again before anything is made live."""
        if self.job is None or self.job.worker_name is None:
            return
        try:
            status, worker = self.job.connection.hmget(self.job.key, "status", "worker_name")
        except UNABLE as error:
            log.warning("job %s goes on, though Redis is away: %s", self.job.id, error)
            return
        if status != b"started" or worker != self.job.worker_name.encode():
            raise LostError(
                f"job {self.job.id} is {as_text(status or b'not known')} now, and not this worker's any more"
            )

    def say(self, line: str) -> None:
        """A line for people: kept with the job and written to the log."""
        line = redact(line)  # it is shown by /job_status and by `mgral jobs`
        log.info("%s", line)
        if self.job is not None:
            self.job.meta["log"] = [*self.job.meta["log"], [time.time(), line]][-LINES:]
            self._save()

    def fail(self, line: str) -> None:
        """The one line that says why the job failed."""
        self.say(line)
        if self.job is not None:
            self.job.meta["error"] = redact(line)
            self._save()

    def finish(self) -> None:
        """Close the last stage."""
        self._close_stage(time.monotonic())
        if self.job is not None:
            self.job.meta.update(stage="done", share=1.0, seconds_left=0)
            self._save()

    def _save(self) -> None:
        assert self.job is not None
        with suppress(*UNABLE):
            if self.job.connection.exists(self.job.key):  # or a lost job would come back by half
                self.job.save_meta()

    def _close_stage(self, now: float) -> None:
        if self.stage and self.job is not None:
            seconds = self.job.meta["stages"].get(self.stage, 0.0) + now - self.stage_started
            self.job.meta["stages"][self.stage] = round(seconds, 1)


def describe(job: Job) -> dict[str, Any]:
    """What people and pages are told of a job: plain values. The head of a cycle stands for the whole cycle."""
    status = job.get_status()
    try:
        meta = job.get_meta()
    except ValueError:  # none of ours wrote it
        meta = {}
    out = {
        "job": job.id,
        "kind": meta.get("kind"),
        "project": meta.get("project"),
        "index": meta.get("index"),
        "status": status.value if status else "gone",
        "stage": meta.get("stage", ""),
        "done": meta.get("done", 0),
        "total": meta.get("total", 0),
        "share": meta.get("share", 0.0),
        "seconds_left": meta.get("seconds_left"),
        "figures": meta.get("figures", {}),
        "stages": meta.get("stages", {}),
        "log": [text for _, text in meta.get("log", [])],
        "error": error_of(job) if meta else None,
        "worker": job.worker_name,
        "asked": _time(job.created_at),
        "ended": _time(job.ended_at),
    }
    if status == JobStatus.FINISHED:
        out |= {"stage": "done", "share": 1.0, "seconds_left": 0}
    if out["kind"] in ("train", "rank") and "head" not in meta and status:
        jobs = Graph.of(job).jobs()
        out |= summary(jobs)
        ends = [part.ended_at for part in jobs if part.ended_at is not None and part_of(part) not in AFTERWARDS]
        out["ended"] = _time(max(ends, default=None)) if out["status"] not in ACTIVE else None
        out["seconds_left"] = _seconds_left(job, out["share"])
        if out["status"] == "finished":
            out |= {"stage": "done", "seconds_left": 0}
    return out


def _time(when: datetime | None) -> str | None:
    """ISO 8601, in UTC."""
    return when.astimezone(UTC).isoformat(timespec="seconds") if when is not None else None


def _seconds_left(head: Job, share: float) -> int | None:
    if head.started_at is None or share <= 0.02:
        return None
    elapsed = (utc_now() - head.started_at).total_seconds()
    return round(elapsed * (1 - share) / share)

"""How far a job is: written into its `meta` by who runs it, told from there to people and pages."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from rq.job import Job, JobStatus

log = logging.getLogger(__name__)


class Progress:
    """Writes a job's progress into its `meta`, at most twice a second. Calling it is a `model.progress.Watch`.

    `stages` are the stages with their usual share of the time, from which the share done and the time left follow.
    """

    def __init__(self, job: Job | None, stages: Mapping[str, float]) -> None:
        self.job, self.stages = job, stages
        self.whole = sum(stages.values())
        self.started = self.stage_started = time.monotonic()
        self.saved = 0.0
        self.stage = ""
        if job is not None:
            job.meta.update({"log": job.meta.get("log", []), "stages": {}, "error": None})

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None:
        """`done` of `total` units of `stage` are finished."""
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
        self.job.save_meta()
        self.saved = now

    def say(self, line: str) -> None:
        """A line for people: kept with the job and written to the log."""
        log.info("%s", line)
        if self.job is not None:
            self.job.meta["log"] = [*self.job.meta["log"], line][-200:]
            self.job.save_meta()

    def fail(self, line: str) -> None:
        """The one line that says why the job failed."""
        self.say(line)
        if self.job is not None:
            self.job.meta["error"] = line
            self.job.save_meta()

    def finish(self) -> None:
        """Close the last stage."""
        self._close_stage(time.monotonic())
        if self.job is not None:
            self.job.meta.update(stage="done", share=1.0, seconds_left=0)
            self.job.save_meta()

    def _close_stage(self, now: float) -> None:
        if self.stage and self.job is not None:
            seconds = self.job.meta["stages"].get(self.stage, 0.0) + now - self.stage_started
            self.job.meta["stages"][self.stage] = round(seconds, 1)


def describe(job: Job) -> dict[str, Any]:
    """What people and pages are told of a job: plain values."""
    status = job.get_status()
    meta = job.get_meta()
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
        "log": meta.get("log", []),
        "error": meta.get("error"),
        "worker": meta.get("worker") or job.worker_name,
    }
    if status == JobStatus.FINISHED:
        out |= {"stage": "done", "share": 1.0, "seconds_left": 0}
    return out

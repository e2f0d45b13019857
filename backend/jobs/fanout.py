"""A training's variants, shared out among the workers that are idle.

A variant is independent work of seconds to minutes, described by files in a shared folder; its result is a file too.
Each is a job of its own (`backend.jobs.variant`), yet nothing waits for workers to come: the training itself takes one
variant after another, and waits only for those that others hold. Who runs a variant holds a claim on it, a lock in
Redis with a lease that is renewed while the process lives; a killed holder's claim expires, and whoever looks next runs
the variant again. A late or second job of a variant finds the result, the claim or the end of the fan-out, and returns.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import redis
from rq import get_current_job
from rq.job import Job, JobStatus
from rq.timeouts import BaseTimeoutException

from backend.jobs.fanout_state import Done, FanOut, Run
from backend.queue.enqueue import KEEP_VARIANT_SECONDS, Jobs
from backend.queue.progress import Progress
from model.progress import Cancelled, Report

log = logging.getLogger(__name__)

TRIES = 2  # of a variant that raises
STARTS = 3  # of a variant whose processes die: it may be what kills them
STAGE = "variant"


class VariantError(RuntimeError):
    """A variant that was given up; one line."""


def fan_out(
    jobs: Jobs,
    project: int,
    folder: Path,
    pending: Sequence[int],
    run: Run,
    done: Done,
    progress: Progress,
    stage: str,
) -> dict[int, str]:
    """Run the variants `pending`, here and on idle workers; returns once each is done or given up.

    Args:
        jobs: the queue.
        project: whose training calls; cancelling it ends the variants too.
        folder: shared with the other workers, which get it by name.
        pending: the variants to run, in the order in which they are taken.
        run: `run(folder, index, report)` writes the result atomically. `report` raises `Cancelled` once the variant is
            not ours any more, which `run` lets through.
        done: whether the result of a variant is there.
        progress: of the training's job; told of `stage` with the number of variants ended and of `workers` at it.
        stage: one of the stages of `progress`.

    Returns:
        Why variants were given up, one line each, by index; empty when all are done.

    Raises:
        ValueError: if `progress` belongs to no job.
    """
    train = progress.job
    if train is None:
        raise ValueError(f"fan_out for project {project}: the progress has no job; call it in a job that a worker runs")
    fan = FanOut(jobs, train.id, folder, run, done)
    fan.open()
    for index in pending:
        if not done(index) and not fan.waits_or_runs(index):
            jobs.enqueue_variant(train, folder, index)
    looked_at = 0.0

    def look() -> list[int]:
        """The variants that are left; tells of the others."""
        nonlocal looked_at
        failed = fan.failed()
        left = [index for index in pending if index not in failed and not done(index)]
        progress(stage, len(pending) - len(left), len(pending), workers=fan.held(pending))
        looked_at = time.monotonic()
        return left

    def tell() -> None:
        if time.monotonic() - looked_at > 1:
            look()

    while True:
        fan.forget_ends()  # before looking, so that whatever ends after the look wakes us
        left = look()
        if not left:
            break
        if not any(_run_here(fan, train, index, tell) for index in left):
            fan.wait_for_an_end()
    failed = {index: reason for index, reason in fan.failed().items() if index in pending}
    for index, reason in sorted(failed.items()):
        progress.say(f"{STAGE} {index} left out: {reason}")
    fan.close()
    jobs.drop_variants(project)
    return failed


def run_claimed(jobs: Jobs, folder: Path, index: int, run: Run, done: Done) -> str:
    """Run one variant in the job that was enqueued for it, unless it is done, held, or its training is over.

    Returns:
        What became of it, in a few words.

    Raises:
        VariantError: if it was given up; the training knows and goes on without it.
    """
    job = get_current_job()
    if job is None or "train" not in job.meta:
        raise ValueError(f"{STAGE} {index} in {folder}: not in a job that fan_out enqueued; start a training instead")
    fan = FanOut(jobs, job.meta["train"], folder, run, done)
    if not fan.goes_on():
        return "dropped: its training is over"
    with fan.claimed(index, fan.goes_on) as lost:
        if lost is None:
            return "left to the worker that holds it"
        try:
            reason = _attempt(fan, index, Progress(job, {STAGE: 1}), lost, lambda: None)
        except Cancelled:
            return "stopped: its training is over, or another worker holds it"
    if reason:
        job.retries_left = 0
        raise VariantError(reason)
    return "done"


def _run_here(fan: FanOut, train: Job, index: int, tell: Callable[[], None]) -> bool:
    """Run a variant in the training's own process; False when another worker holds it."""
    with fan.claimed(index, lambda: True) as lost:
        if lost is None:
            return False
        job = fan.job(index)
        if job is not None:  # so that no other worker takes it, and people see where it runs
            fan.jobs.low.remove(job)
            job.meta["worker"] = train.worker_name
            job.save_meta()
            fan.mark_running(job)

        def tell_and_mark() -> None:
            # A worker that had the job in hand already leaves the variant to us, and RQ then calls its job finished.
            if job is not None and fan.jobs.connection.hget(job.key, "status") == b"finished":
                fan.mark_running(job)
            tell()

        try:
            reason = _attempt(fan, index, Progress(job, {STAGE: 1}), lost, tell_and_mark)
        except Cancelled:
            return True
        if job is not None:
            job.set_status(JobStatus.FAILED if reason else JobStatus.FINISHED)
            fan.jobs.connection.expire(job.key, KEEP_VARIANT_SECONDS)
    return True


def _attempt(
    fan: FanOut, index: int, progress: Progress, lost: threading.Event, tell: Callable[[], None]
) -> str | None:
    """Run a claimed variant unless it is done; returns the reason if it is given up."""

    def report(done: int, total: int, **figures: float) -> None:
        if lost.is_set():
            raise Cancelled(f"{STAGE} {index} is not ours any more")
        progress(STAGE, done, total, **figures)
        tell()

    reason = fan.failed().get(index)
    if reason is None and not fan.done(index):
        report(0, 1)
        reason = _tries(fan, index, report)
        if reason is not None:
            fan.fail(index, reason)
    if reason is None:
        progress.finish()
    else:
        progress.fail(reason)
    return reason


def _tries(fan: FanOut, index: int, report: Report) -> str | None:
    if fan.count_start(index) > STARTS:
        return f"its process died {STARTS} times; the workers' logs may say why"
    reason = None
    for _ in range(TRIES):
        try:
            fan.run(fan.folder, index, report)
        except (Cancelled, BaseTimeoutException, redis.RedisError):
            raise
        except Exception as error:  # whatever it is, the ranking goes on without this variant
            log.warning("%s %d in %s", STAGE, index, fan.folder, exc_info=True)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
        else:
            return None
    return reason

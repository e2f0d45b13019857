"""A training's variants, shared out among the workers that are idle.

A variant is independent work of seconds to minutes, described by files in a shared folder; its result is a file too.
Each is a job of its own (`backend.jobs.variant`), yet nothing waits for workers to come: the training itself takes one
variant after another, and waits only for those that others hold. Who runs a variant holds a claim on it, a lock in
Redis with a lease that is renewed while the process lives; a killed holder's claim expires, and whoever looks next runs
the variant again. A late or second job of a variant finds the result, the claim or the end of the fan-out, and returns.

In Redis, below `Jobs.fan_out_key`: "state", a hash that exists while the fan-out goes on (how often each variant was
started, why each that was given up failed); "ended", a list that wakes the training; a claim for each variant held.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import redis
from rq import get_current_job
from rq.exceptions import InvalidJobOperation
from rq.job import Job, JobStatus
from rq.timeouts import BaseTimeoutException

from backend.queue import ACTIVE, KEEP_SECONDS, KEEP_VARIANT_SECONDS, Jobs, Progress, variant_id
from model.progress import Cancelled, Report

log = logging.getLogger(__name__)

Run = Callable[[Path, int, Report], None]
Done = Callable[[int], bool]

LEASE_SECONDS = 10.0
RENEW_SECONDS = 2.5
LOOK_SECONDS = 2  # how often a waiting training looks for expired claims
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
    cycle = _Cycle(jobs, train.id, folder, run, done)
    cycle.open()
    for index in pending:
        if not done(index) and not cycle.waits_or_runs(index):
            jobs.enqueue_variant(train, folder, index)
    told = 0.0

    def look() -> list[int]:
        """The variants that are left; tells of the others."""
        nonlocal told
        failed = cycle.failed()
        left = [index for index in pending if index not in failed and not done(index)]
        progress(stage, len(pending) - len(left), len(pending), workers=cycle.held(pending))
        told = time.monotonic()
        return left

    def tell() -> None:
        if time.monotonic() - told > 1:
            look()

    while True:
        cycle.forget_ends()  # before looking, so that whatever ends after the look wakes us
        left = look()
        if not left:
            break
        if not any(_run_here(cycle, train, index, tell) for index in left):
            cycle.wait_for_an_end()
    failed = {index: reason for index, reason in cycle.failed().items() if index in pending}
    for index, reason in sorted(failed.items()):
        progress.say(f"{STAGE} {index} left out: {reason}")
    cycle.close()
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
    cycle = _Cycle(jobs, job.meta["train"], folder, run, done)
    if not cycle.goes_on():
        return "dropped: its training is over"
    with _claimed(cycle, index, cycle.goes_on) as lost:
        if lost is None:
            return "left to the worker that holds it"
        try:
            reason = _attempt(cycle, index, Progress(job, {STAGE: 1}), lost, lambda: None)
        except Cancelled:
            return "stopped: its training is over, or another worker holds it"
    if reason:
        job.retries_left = 0
        raise VariantError(reason)
    return "done"


def _run_here(cycle: _Cycle, train: Job, index: int, tell: Callable[[], None]) -> bool:
    """Run a variant in the training's own process; False when another worker holds it."""
    with _claimed(cycle, index, lambda: True) as lost:
        if lost is None:
            return False
        job = cycle.job(index)
        if job is not None:  # so that no other worker takes it, and people see where it runs
            cycle.jobs.low.remove(job)
            job.meta["worker"] = train.worker_name
            job.save_meta()
            cycle.mark_running(job)

        def tell_and_mark() -> None:
            # A worker that had the job in hand already leaves the variant to us, and RQ then calls its job finished.
            if job is not None and cycle.jobs.connection.hget(job.key, "status") == b"finished":
                cycle.mark_running(job)
            tell()

        try:
            reason = _attempt(cycle, index, Progress(job, {STAGE: 1}), lost, tell_and_mark)
        except Cancelled:
            return True
        if job is not None:
            job.set_status(JobStatus.FAILED if reason else JobStatus.FINISHED)
            cycle.jobs.connection.expire(job.key, KEEP_VARIANT_SECONDS)
    return True


def _attempt(
    cycle: _Cycle, index: int, progress: Progress, lost: threading.Event, tell: Callable[[], None]
) -> str | None:
    """Run a claimed variant unless it is done; returns the reason if it is given up."""

    def report(done: int, total: int, **figures: float) -> None:
        if lost.is_set():
            raise Cancelled(f"{STAGE} {index} is not ours any more")
        progress(STAGE, done, total, **figures)
        tell()

    reason = cycle.failed().get(index)
    if reason is None and not cycle.done(index):
        report(0, 1)
        reason = _tries(cycle, index, report)
        if reason is not None:
            cycle.fail(index, reason)
    if reason is None:
        progress.finish()
    else:
        progress.fail(reason)
    return reason


def _tries(cycle: _Cycle, index: int, report: Report) -> str | None:
    if cycle.count_start(index) > STARTS:
        return f"its process died {STARTS} times; the workers' logs may say why"
    reason = None
    for _ in range(TRIES):
        try:
            cycle.run(cycle.folder, index, report)
        except (Cancelled, BaseTimeoutException, redis.RedisError):
            raise
        except Exception as error:  # whatever it is, the ranking goes on without this variant
            log.warning("%s %d in %s", STAGE, index, cycle.folder, exc_info=True)
            reason = " ".join(f"{type(error).__name__}: {error}".split())
        else:
            return None
    return reason


@contextmanager
def _claimed(cycle: _Cycle, index: int, goes_on: Callable[[], bool]) -> Iterator[threading.Event | None]:
    """Hold a variant while `goes_on()`; yields the event that it was lost, or None when another holds it."""
    claim = cycle.claim(index)
    if not claim.acquire(blocking=False):
        yield None
        return
    lost, ended = threading.Event(), threading.Event()

    def renew() -> None:
        while not ended.wait(RENEW_SECONDS):
            try:
                if not goes_on():
                    lost.set()
                claim.reacquire()
            except redis.exceptions.LockError:
                lost.set()
                return
            except redis.RedisError as error:
                log.warning("the claim on %s %d was not renewed: %s", STAGE, index, error)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield lost
    finally:
        ended.set()
        thread.join()
        try:
            claim.release()
            cycle.note_end()
        except redis.RedisError as error:
            log.warning("the claim on %s %d was lost: %s", STAGE, index, error)


@dataclass(frozen=True)
class _Cycle:
    """One training's fan-out: how its variants run, and what Redis knows of them."""

    jobs: Jobs
    train: str
    folder: Path
    run: Run
    done: Done

    @property
    def state(self) -> str:
        return self.jobs.fan_out_key(self.train, "state")

    @property
    def ended(self) -> str:
        return self.jobs.fan_out_key(self.train, "ended")

    def open(self) -> None:
        self._note("open", "1")

    def close(self) -> None:
        self.jobs.connection.delete(self.state, self.ended)

    def is_open(self) -> bool:
        return bool(self.jobs.connection.hexists(self.state, "open"))

    def goes_on(self) -> bool:
        """Whether the training still waits for its variants, now or after a retry."""
        try:
            status = Job(self.train, connection=self.jobs.connection).get_status()
        except InvalidJobOperation:  # it is not known any more
            return False
        return status in ACTIVE and self.is_open()

    def claim(self, index: int) -> redis.lock.Lock:
        key = self.jobs.fan_out_key(self.train, index)
        return self.jobs.connection.lock(key, timeout=LEASE_SECONDS, thread_local=False)

    def held(self, indices: Sequence[int]) -> int:
        """How many variants are being run."""
        keys = [self.jobs.fan_out_key(self.train, index) for index in indices]
        return int(self.jobs.connection.exists(*keys)) if keys else 0

    def job(self, index: int) -> Job | None:
        (found,) = Job.fetch_many([variant_id(self.train, index)], connection=self.jobs.connection)
        return found

    def mark_running(self, job: Job) -> None:
        job.set_status(JobStatus.STARTED)
        self.jobs.connection.expire(job.key, KEEP_SECONDS)

    def waits_or_runs(self, index: int) -> bool:
        """Whether a variant needs no enqueuing: it is queued, or someone alive runs it."""
        job = self.job(index)
        return job is not None and (job.get_status() == JobStatus.QUEUED or bool(self.held([index])))

    def count_start(self, index: int) -> int:
        with self.jobs.connection.pipeline() as pipeline:
            pipeline.hincrby(self.state, f"starts {index}", 1)
            pipeline.expire(self.state, KEEP_SECONDS)
            return int(pipeline.execute()[0])

    def fail(self, index: int, reason: str) -> None:
        self._note(f"failed {index}", reason)

    def failed(self) -> dict[int, str]:
        """Why variants were given up."""
        noted = cast(dict[bytes, bytes], self.jobs.connection.hgetall(self.state))
        named = {tuple(name.decode().split()): value.decode() for name, value in noted.items()}
        return {int(name[1]): value for name, value in named.items() if name[0] == "failed"}

    def _note(self, name: str, value: str) -> None:
        with self.jobs.connection.pipeline() as pipeline:
            pipeline.hset(self.state, name, value)
            pipeline.expire(self.state, KEEP_SECONDS)
            pipeline.execute()

    def note_end(self) -> None:
        """Wake the training, if it is there."""
        if self.is_open():
            self.jobs.connection.rpush(self.ended, 1)

    def forget_ends(self) -> None:
        self.jobs.connection.delete(self.ended)

    def wait_for_an_end(self) -> None:
        self.jobs.connection.blpop([self.ended], timeout=LOOK_SECONDS)

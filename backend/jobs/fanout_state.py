"""What Redis knows of a training's fan-out: it is how the workers at its variants, and the training, agree.

Below `Jobs.fan_out_key`: "state", a hash that exists while the fan-out goes on (how often each variant was started, why
each that was given up failed); "ended", a list that wakes the training; a claim for each variant held.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import redis
from rq.exceptions import InvalidJobOperation
from rq.job import Job, JobStatus

from backend.queue.enqueue import ACTIVE, KEEP_SECONDS, Jobs, variant_id
from backend.queue.repeat import every
from model.progress import Report

log = logging.getLogger(__name__)

Run = Callable[[Path, int, Report], None]
Done = Callable[[int], bool]

LEASE_SECONDS = 10.0
RENEW_SECONDS = 2.5
LOOK_SECONDS = 2  # how often a waiting training looks for expired claims


@dataclass(frozen=True)
class FanOut:
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

    @contextmanager
    def claimed(self, index: int, goes_on: Callable[[], bool]) -> Iterator[threading.Event | None]:
        """Hold a variant while `goes_on()`; yields the event that it was lost, or None when another holds it."""
        key = self.jobs.fan_out_key(self.train, index)
        claim = self.jobs.connection.lock(key, timeout=LEASE_SECONDS, thread_local=False)
        if not claim.acquire(blocking=False):
            yield None
            return
        lost = threading.Event()

        def renew() -> None:
            try:
                if not goes_on():
                    lost.set()
                claim.reacquire()
            except redis.exceptions.LockError:
                lost.set()
            except redis.RedisError as error:
                log.warning("the claim on variant %d was not renewed: %s", index, error)

        try:
            with every(RENEW_SECONDS, renew):
                yield lost
        finally:
            try:
                claim.release()
                self._note_end()
            except redis.RedisError as error:
                log.warning("the claim on variant %d was lost: %s", index, error)

    def held(self, indices: Sequence[int]) -> int:
        """How many variants are being run."""
        keys = [self.jobs.fan_out_key(self.train, index) for index in indices]
        return int(self.jobs.connection.exists(*keys)) if keys else 0

    def job(self, index: int) -> Job | None:
        (job,) = Job.fetch_many([variant_id(self.train, index)], connection=self.jobs.connection)
        return job

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

    def forget_ends(self) -> None:
        self.jobs.connection.delete(self.ended)

    def wait_for_an_end(self) -> None:
        self.jobs.connection.blpop([self.ended], timeout=LOOK_SECONDS)

    def _note_end(self) -> None:
        """Wake the training, if it is there."""
        if self.is_open():
            self.jobs.connection.rpush(self.ended, 1)

    def _note(self, name: str, value: str) -> None:
        with self.jobs.connection.pipeline() as pipeline:
            pipeline.hset(self.state, name, value)
            pipeline.expire(self.state, KEEP_SECONDS)
            pipeline.execute()

"""What repeats: reconciling, by RQ's cron scheduler, in a thread of every `mgral work`; one of them at a time acts."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta

import redis
from rq.cron import CronJob, CronScheduler
from rq.job import Job
from rq.utils import now

from backend.queue.enqueue import Jobs

log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0  # between two looks at the clock
HOLD_SECONDS = 30  # after which another worker takes over from one that died
AWAY_SECONDS = 5.0  # between two tries while Redis is away


class Reconciling(CronJob):
    """RQ's cron job, but for three things that it has no setting for.

    It is enqueued once, however many ask (RQ enqueues another each time); in JSON (RQ's uses pickle); and a clock that
    was ahead and was set back does not put the next run off (RQ compares with the last run's wall time).
    """

    def __init__(self, jobs: Jobs) -> None:
        name = f"{jobs.settings.queue_name}:reconcile"
        interval = jobs.settings.reconcile_seconds
        super().__init__(jobs.queue.name, func_name="backend.jobs.reconcile", interval=interval, name=name)
        self.jobs = jobs

    def should_run(self) -> bool:
        """Whether a period is over, or the clock was set back."""
        if self.latest_enqueue_time is not None and self.latest_enqueue_time > now() + timedelta(seconds=LOOK_SECONDS):
            return True
        return super().should_run()

    def enqueue(self, connection: redis.Redis) -> Job | None:  # type: ignore[override]  # noqa: ARG002
        """Put a reconciling into the queue unless one waits or runs."""
        self.jobs.reconcile_soon()
        return None


class Cron(CronScheduler):
    """RQ's scheduler, of which one of any number of workers does something: the one that holds the lock."""

    def __init__(self, jobs: Jobs) -> None:
        super().__init__(jobs.connection)
        self.lock = jobs.connection.lock(
            f"mgral:{jobs.settings.queue_name}:cron", timeout=HOLD_SECONDS, thread_local=False, blocking=False
        )
        self.reconciling = Reconciling(jobs)
        self.reconciling.set_enqueue_time(now())  # the first one after a period: workers have just begun
        self._cron_jobs = [self.reconciling]

    def enqueue_jobs(self) -> list[CronJob]:
        """Enqueue what is due, where this worker holds the lock."""
        return super().enqueue_jobs() if self._holds() else []

    def calculate_sleep_interval(self) -> float:
        """Seconds to the next look."""
        return min(super().calculate_sleep_interval(), LOOK_SECONDS) if self._holds() else LOOK_SECONDS

    def _holds(self) -> bool:
        try:
            if self.lock.owned():
                self.lock.reacquire()
                return True
        except redis.exceptions.LockError:
            pass  # Redis lost it, or another worker took over while this one was suspended
        return bool(self.lock.acquire())

    def _install_signal_handlers(self) -> None:
        """RQ's are for a process of its own; this is a thread."""


def start(jobs: Jobs) -> None:
    """Reconcile every RECONCILE_SECONDS, as long as this process lives and whatever becomes of Redis."""
    threading.Thread(target=_keep_on, args=(jobs,), daemon=True, name="cron").start()


def _keep_on(jobs: Jobs) -> None:
    while True:
        try:
            Cron(jobs).start()
        except redis.RedisError as error:
            log.warning("reconciling waits, because Redis is away: %s", error)
        except Exception:
            log.exception("reconciling waits")  # a thread that ended would be missed by nobody
        time.sleep(AWAY_SECONDS)

"""`mgral work`: an RQ worker that has the heavy imports done before it forks, and wakes the reconciling."""

from __future__ import annotations

import logging
import os

from rq import Worker

from backend.queue.enqueue import Jobs
from backend.settings import Settings
from model.processes import end_with_parent

log = logging.getLogger(__name__)

MONITOR_SECONDS = 5
MAINTENANCE_SECONDS = 10
WORKER_TTL = 30


class MgralWorker(Worker):
    """An RQ worker whose job dies with it: the job of a killed worker would go on unseen and hold its locks."""

    def setup_work_horse_signals(self) -> None:
        """Called in the job's process before the job."""
        super().setup_work_horse_signals()
        end_with_parent(self.pid or os.getppid())


def worker(jobs: Jobs) -> Worker:
    """An RQ worker of both queues, the low one last, that soon finds the jobs of workers that were killed.

    A job counts as abandoned when its worker was silent for `job_monitoring_interval` + 60 s (RQ's
    `BaseWorker.get_heartbeat_ttl`; the 60 are fixed). An idle worker looks for such jobs every `maintenance_interval`,
    but only when its wait for work ends, after `worker_ttl` - 15 s (`dequeue_timeout`). Here that makes 65 s plus at
    most 15, then the first of RETRY_SECONDS; with RQ's defaults (30 s, 600 s, 420 s) 90 s plus up to 13.5 minutes.
    """
    logging.getLogger("rq.worker").addFilter(_quiet)
    return MgralWorker(
        [jobs.queue, jobs.low],
        connection=jobs.connection,
        job_monitoring_interval=MONITOR_SECONDS,
        maintenance_interval=MAINTENANCE_SECONDS,
        worker_ttl=WORKER_TTL,
    )


def run(settings: Settings, *, burst: bool = False) -> None:
    """Work until told to stop (the running job is finished first), or with `burst` until the queue is empty."""
    import model.detectors.yolo  # noqa: F401  imported here once, so that each job's fork has torch at once

    jobs = Jobs(settings)
    jobs.connection.ping()
    settings.model_dir.mkdir(parents=True, exist_ok=True)
    if not burst:
        jobs.schedule_reconcile(settings.reconcile_seconds)
    log.info("working on queue %r for %s", settings.queue_name, settings.label_studio_url)
    worker(jobs).work(burst=burst, with_scheduler=not burst, logging_level=settings.log_level)


def _quiet(record: logging.LogRecord) -> bool:
    """Whether a line is worth a place in the log: RQ tells of every round of maintenance."""
    return "cleaning" not in str(record.msg)

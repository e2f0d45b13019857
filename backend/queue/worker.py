"""`mgral work`: an RQ worker of all queues, a second one for what must not wait for a training, and what repeats."""

from __future__ import annotations

import logging
import multiprocessing
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.context import ForkProcess
from typing import Any

import redis
from redis.client import Pipeline
from rq import Queue, Worker
from rq.executions import Execution
from rq.job import Job
from rq.worker_registration import register

from backend import request_id
from backend.queue import cron, interruption
from backend.queue.enqueue import Jobs, connect
from backend.queue.figures import Figures
from backend.queue.job import Json, MgralJob, MgralQueue
from backend.settings import Settings
from model.processes import end_with_parent

log = logging.getLogger(__name__)

MONITOR_SECONDS = 5  # between two signs of life beside a job
SILENT_SECONDS = 25  # without one, a worker counts as dead, and its job is taken over
MAINTENANCE_SECONDS = 10
WORKER_TTL = 25
AWAY_SECONDS = 2.0  # between two looks whether Redis is back
AWAY = (redis.ConnectionError, redis.TimeoutError)


class MgralWorker(Worker):
    """An RQ worker that outlives a Redis that restarts, and whose job dies with it.

    The job of a killed worker would go on unseen. A worker that is told to stop asks its job to hand itself back.
    """

    job_class = MgralJob
    queue_class: type[Queue] = MgralQueue
    figures: Figures | None = None

    def setup_work_horse_signals(self) -> None:
        """Called in the job's process before the job."""
        super().setup_work_horse_signals()
        end_with_parent(self.pid or os.getppid())
        interruption.listen()

    def handle_warm_shutdown_request(self) -> None:
        """Called when the worker is told to stop."""
        super().handle_warm_shutdown_request()
        if self.horse_pid:
            with suppress(ProcessLookupError):
                os.kill(self.horse_pid, interruption.SIGNAL)

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Run a job in a process of its own. A Redis that is away when it ends costs the job, not the worker.

        Its log lines, and the jobs that it adds, bear the id of the request that asked for it.
        """
        request_id.begin(_meta(job).get(request_id.META), job.id)
        began = time.monotonic()
        try:
            super().execute_job(job, queue)
            if self.figures is not None:
                self.figures.job(job, time.monotonic() - began)
        except AWAY as error:
            log.warning("the end of job %s was not noted, because Redis is away: %s", job.id, error)
            self._wait_for_redis()
        finally:
            request_id.end()

    def maintain_heartbeats(self, job: Job, execution: Execution) -> None:
        """Called every MONITOR_SECONDS beside a job."""
        try:
            super().maintain_heartbeats(job, execution)
            self._stay_registered()
            if self.scheduler and not (self.scheduler._process and self.scheduler._process.is_alive()):
                self.scheduler.acquire_locks(auto_start=True)  # RQ does so too, but only between jobs
        except AWAY as error:
            log.warning("job %s goes on, though Redis is away: %s", job.id, error)

    def get_heartbeat_ttl(self, job: Job, working_time: float = 0.0) -> int:  # noqa: ARG002
        """Seconds until a job counts as abandoned. RQ's is a minute more; LostError ends a job that came back late."""
        return SILENT_SECONDS

    def heartbeat(self, timeout: int | None = None, pipeline: Pipeline | None = None) -> None:
        """Called before every wait for work."""
        super().heartbeat(timeout, pipeline)
        if pipeline is None:
            self._stay_registered()

    def _stay_registered(self) -> None:
        """Be known again to a Redis that lost its data: otherwise `doctor` would find no worker."""
        if self.birth_date is None or self.connection.sismember(self.redis_workers_keys, self.key):
            return
        with self.connection.pipeline() as pipeline:
            pipeline.hset(self.key, mapping=self.serialize())
            pipeline.expire(self.key, self.worker_ttl + 60)
            register(self, pipeline)
            pipeline.execute()
        log.warning("Redis had lost its data: this worker is registered again")

    def _wait_for_redis(self) -> None:
        while not self._stop_requested:
            with suppress(*AWAY):
                self.connection.ping()
                return
            time.sleep(AWAY_SECONDS)


def patient(settings: Settings) -> Jobs:
    """Jobs over a connection that waits longer than a worker does for work.

    RQ raises the time only for connections that are made after its worker: an older one would break off every wait, and
    RQ takes that for a Redis that is away and pauses for up to a minute.
    """
    return Jobs(settings, connect(settings, WORKER_TTL))


def worker(jobs: Jobs, queues: Sequence[Queue] | None = None) -> MgralWorker:
    """An RQ worker of some queues, of all by default, that soon finds the jobs of workers that were killed.

    A job counts as abandoned after SILENT_SECONDS. An idle worker looks for such jobs every `maintenance_interval`, but
    only when its wait for work ends, after `worker_ttl` - 15 s (RQ's `dequeue_timeout`). Here that makes 25 s plus at
    most 10; with RQ's defaults 90 s plus up to 13.5 minutes.
    """
    logging.getLogger("rq.worker").addFilter(_quiet)
    employed = MgralWorker(
        list(queues or jobs.queues),
        connection=jobs.connection,
        serializer=Json,
        job_monitoring_interval=MONITOR_SECONDS,
        maintenance_interval=MAINTENANCE_SECONDS,
        worker_ttl=WORKER_TTL,
    )
    employed.figures = Figures(jobs.connection, jobs.settings.queue_name)
    return employed


def run(settings: Settings, *, burst: bool = False) -> None:
    """Work until told to stop (the running job hands itself back), or with `burst` until the queues are empty."""
    import model.detectors.yolo  # noqa: F401  imported here once, so that each job's fork has torch at once

    jobs = patient(settings)
    jobs.connection.ping()
    log.info("working on queue %r for %s", settings.queue_name, settings.label_studio_url)
    if burst:
        worker(jobs).work(burst=True, logging_level=settings.log_level)
        return
    beside = _start_beside(settings)
    cron.start(jobs)
    try:
        _work(jobs, jobs.queues, settings.log_level, scheduler=True)
    finally:
        beside.terminate()
        beside.join()


def _start_beside(settings: Settings) -> ForkProcess:
    """A second process for the first queue, so that predictions and publications never wait for a training."""
    parent = os.getpid()

    def serve() -> None:
        end_with_parent(parent)
        jobs = patient(settings)
        _work(jobs, [jobs.queue], settings.log_level, scheduler=False)

    process = multiprocessing.get_context("fork").Process(target=serve, name="beside")
    process.start()
    return process


def _work(jobs: Jobs, queues: Sequence[Queue], level: str, *, scheduler: bool) -> None:
    """Work until told to stop; RQ's worker ends also where Redis fails it at a bad moment, and then another begins."""
    while True:
        employed = worker(jobs, queues)
        with suppress(*AWAY):  # of the last words of a worker that ends because Redis is away
            employed.work(with_scheduler=scheduler, logging_level=level)
        if employed._shutdown_requested_date is not None:
            return
        log.warning("the worker ended without being told to: another begins as soon as Redis answers")
        employed._wait_for_redis()


def _meta(job: Job) -> dict[str, Any]:
    try:
        return job.meta if isinstance(job.meta, dict) else {}
    except ValueError:  # none of ours wrote it
        return {}


def _quiet(record: logging.LogRecord) -> bool:
    """Whether a line is worth a place in the log: RQ tells of every round of maintenance."""
    return "cleaning" not in str(record.msg)

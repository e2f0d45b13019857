"""The queue: what is enqueued, what waits and runs, how it is cancelled. What the jobs do is in `backend.jobs`.

At most one job of a kind waits or runs for a project; asking again gives the same job. Asking for a training while one
runs makes one more follow it, because the new annotations came too late for the first.

A training may hand parts of its work, the variants, to other workers (`backend.jobs.fanout`). They wait in a queue of
their own, which a worker looks into only when nothing else waits: who asks for a prediction waits for one variant at
most.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import redis
from rq import Queue, Retry
from rq.command import PUBSUB_CHANNEL_TEMPLATE, send_stop_job_command
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from rq.job import Job, JobStatus

from backend.settings import Settings

KINDS = ("train", "rank", "predict")
ACTIVE = {JobStatus.QUEUED, JobStatus.STARTED, JobStatus.SCHEDULED, JobStatus.DEFERRED, JobStatus.CREATED}
RETRY_SECONDS = [10, 30, 120]  # a transient fault is tried again after so long
KEEP_SECONDS = 7 * 24 * 3600  # how long a finished job can be asked about
KEEP_VARIANT_SECONDS = 3600
VARIANT_RETRIES = 2  # of a variant whose worker died; an exception in it is `backend.jobs.fanout`'s
RECONCILE = "reconcile"


def connect(settings: Settings) -> redis.Redis:
    """The Redis of the settings; a dead one is noticed within a second."""
    return redis.Redis.from_url(settings.redis_url, socket_connect_timeout=1)


class Jobs:
    """Enqueue, find, cancel. Every method raises redis.RedisError where Redis is away."""

    def __init__(self, settings: Settings, connection: redis.Redis | None = None) -> None:
        self.settings = settings
        self.connection = connection or connect(settings)
        self.queue = Queue(settings.queue_name, connection=self.connection)
        self.low = Queue(f"{settings.queue_name}-low", connection=self.connection)

    def enqueue(self, kind: str, project: int, **arguments: Any) -> tuple[Job, bool]:
        """(job, whether it is new): `kind` is one of KINDS. Milliseconds; fit for a webhook."""
        with self.connection.lock(self._key("enqueue", project), timeout=5):
            active = self.active(kind, project)
            if active is not None:
                if kind == "train" and active.get_status() == JobStatus.STARTED:
                    self.connection.set(self._key("again", project), 1)
                return active, False
            job = self.queue.enqueue_call(
                f"backend.jobs.{kind}",
                args=(project,),
                kwargs=arguments,
                timeout=self.settings.job_timeout,
                result_ttl=KEEP_SECONDS,
                failure_ttl=KEEP_SECONDS,
                retry=Retry(max=len(RETRY_SECONDS), interval=RETRY_SECONDS),
                description=f"{kind} project {project}",
                meta={"kind": kind, "project": project, "stage": "waiting for a worker", "log": []},
            )
            self.connection.set(self._key(kind, project), job.id)
            return job, True

    def take_again(self, project: int) -> bool:
        """Whether a training was asked for while one ran; the wish is forgotten by asking."""
        return bool(self.connection.getdel(self._key("again", project)))

    def last(self, kind: str, project: int) -> Job | None:
        """The newest job of a kind, whatever became of it."""
        found = self.connection.get(self._key(kind, project))
        if not isinstance(found, bytes):
            return None
        try:
            return Job.fetch(found.decode(), connection=self.connection)
        except NoSuchJobError:
            return None

    def active(self, kind: str, project: int) -> Job | None:
        """The job of a kind that waits or runs."""
        job = self.last(kind, project)
        return job if job is not None and job.get_status() in ACTIVE else None

    def cancel(self, project: int) -> list[Job]:
        """Stop what runs and drop what waits for a project; the version that serves goes on serving.

        Returns the jobs of KINDS that were stopped; a training's variants end with it, on whichever worker.
        """
        stopped = []
        self.connection.delete(self._key("again", project))
        for kind in KINDS:
            job = self.active(kind, project)
            if job is None:
                continue
            with suppress(InvalidJobOperation, NoSuchJobError):  # it ended this very moment
                self._stop(job)
                stopped.append(job)
        for job in self.drop_variants(project):
            with suppress(InvalidJobOperation, NoSuchJobError):
                self._stop(job)
        return stopped

    def _stop(self, job: Job) -> None:
        """Stop a job that runs, or cancel one that does not: because it waits, or because its worker died."""
        channel = PUBSUB_CHANNEL_TEMPLATE % job.worker_name
        if job.get_status() == JobStatus.STARTED and self.connection.pubsub_numsub(channel)[0][1]:
            send_stop_job_command(self.connection, job.id)
        else:
            job.cancel()

    def enqueue_variant(self, train: Job, folder: Path, index: int) -> Job:
        """Let an idle worker run `backend.jobs.variant(project, folder, index)` for a training."""
        project = train.meta["project"]
        job = self.low.enqueue_call(
            "backend.jobs.variant",
            args=(project, str(folder), index),
            job_id=variant_id(train.id, index),
            timeout=self.settings.job_timeout,
            result_ttl=KEEP_VARIANT_SECONDS,
            failure_ttl=KEEP_VARIANT_SECONDS,
            retry=Retry(max=VARIANT_RETRIES),
            description=f"variant {index} project {project}",
            meta={
                "kind": "variant",
                "project": project,
                "index": index,
                "train": train.id,
                "stage": "waiting for a worker",
                "share": 0.0,
                "log": [],
            },
        )
        key = self._key("variants", project)
        self.connection.sadd(key, job.id)
        self.connection.expire(key, KEEP_SECONDS)
        return job

    def variants(self, project: int) -> list[Job]:
        """The variants of a project that are still known: waiting, running, lately ended; by training and index."""
        key = self._key("variants", project)
        ids = [member.decode() for member in self.connection.smembers(key) if isinstance(member, bytes)]
        found = Job.fetch_many(ids, connection=self.connection)
        gone = [name for name, job in zip(ids, found, strict=True) if job is None]
        if gone:
            self.connection.srem(key, *gone)
        return sorted((job for job in found if job is not None), key=lambda j: (j.meta["train"], j.meta["index"]))

    def drop_variants(self, project: int) -> list[Job]:
        """Cancel what waits, forget who holds what; returns the variants that run in a job of their own, to be stopped.

        Those that a training runs itself, which their `meta` names the worker of, end with it. The jobs stay for an
        hour: one that is deleted while a worker takes it would come back as half a job.
        """
        running = []
        for job in self.variants(project):
            train, index = job.meta["train"], job.meta["index"]
            self.connection.delete(*(self.fan_out_key(train, part) for part in ("state", "ended", index)))
            status = job.get_status()
            if status == JobStatus.STARTED and "worker" not in job.meta:
                running.append(job)
            elif status in ACTIVE:
                self.low.remove(job)
                job.set_status(JobStatus.CANCELED)
                self.connection.expire(job.key, KEEP_VARIANT_SECONDS)
        return running

    def fan_out_key(self, train: str, part: int | str) -> str:
        """Where `backend.jobs.fanout` keeps the "state" of a training's fan-out, what "ended", each variant's claim."""
        return f"mgral:{self.settings.queue_name}:fanout:{train}:{part}"

    def schedule_reconcile(self, delay: float = 0) -> None:
        """See that `backend.jobs.reconcile` runs after `delay` seconds, once, however many workers ask."""
        with self.connection.lock("mgral:enqueue:reconcile", timeout=5):
            with suppress(NoSuchJobError):
                waiting = Job.fetch(RECONCILE, connection=self.connection)
                overdue = datetime.now(UTC) - (waiting.created_at.replace(tzinfo=UTC)) > timedelta(
                    seconds=3 * self.settings.reconcile_seconds + 60
                )
                if waiting.get_status() in ACTIVE - {JobStatus.STARTED} and not overdue:
                    return
                waiting.delete()
            job = Job.create(
                "backend.jobs.reconcile", connection=self.connection, id=RECONCILE, result_ttl=60, timeout=600
            )
            if delay:
                self.queue.schedule_job(job, datetime.now(UTC) + timedelta(seconds=delay))
            else:
                self.queue.enqueue_job(job)

    def note_attempt(self, project: int, annotations: int) -> None:
        """Remember how many annotations a training saw, so that a failing one is not started again by each new one."""
        self.connection.set(self._key("attempted", project), annotations)

    def attempted(self, project: int) -> int:
        """How many annotations the last training saw."""
        value = self.connection.get(self._key("attempted", project))
        return int(value) if isinstance(value, bytes) else 0

    def exclusive(self, project: int) -> redis.lock.Lock:
        """A lock that one job of a project holds at a time; whoever holds it must `reacquire` it every few seconds."""
        return self.connection.lock(self._key("busy", project), timeout=30, sleep=0.5, thread_local=False)

    def _key(self, what: str, project: int) -> str:
        return f"mgral:{self.settings.queue_name}:{what}:{project}"


def variant_id(train: str, index: int) -> str:
    """The id of the job of a training's variant."""
    return f"{train}-variant-{index}"

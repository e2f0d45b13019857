"""The queue: what is enqueued, what waits and runs, how it is cancelled. What the jobs do is in `backend.jobs`.

One cycle of a project, a training or a ranking, runs at a time; the head of the next one is deferred until it has ended
and holds no worker. Asking again gives the same job, but asking for a training while one runs makes one more follow it,
because the new annotations came too late for the first.

Three queues, by what may wait for what: `NAME` for what is short and what people wait for, `NAME-train` for trainings
and what orders the tasks after them, `NAME-low` for what several workers share (the start of hindsight, shards of a
scan, variants) and for tidying up. Each `mgral work` has a second process that takes jobs of the first queue only, so
that a late task never waits for a training.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import redis
from rq import Retry
from rq.command import PUBSUB_CHANNEL_TEMPLATE, send_stop_job_command
from rq.exceptions import DuplicateJobError, InvalidJobOperation, NoSuchJobError
from rq.job import Dependency, Job, JobStatus
from rq.utils import as_text, now
from rq.worker_registration import WORKERS_BY_QUEUE_KEY

from backend import request_id
from backend.queue.graph import ACTIVE, KEEP_SECONDS, Graph
from backend.queue.job import AFTERWARDS, Json, MgralJob, MgralQueue
from backend.queue.lasting import Lasting
from backend.settings import Settings

HEADS = ("train", "rank")  # kinds of cycles
KINDS = (*HEADS, "predict")
DEATHS = 3  # how often a job is repeated whose process died: it may be what kills it
CANCEL_SECONDS = 5.0
REMEMBERED = 50  # jobs in a project's history
LOOK_SECONDS = 0.01  # between two looks whether others have asked for their work: annotators wait for it
RECONCILE_TIMEOUT = 600
BEGUN = "cycle.json"
WAITING = "waiting for a worker"
FIRST = {"train": "train", "rank": "survey", "predict": "predict"}  # the function that a kind begins with


def connect(settings: Settings, answer_seconds: float = 5.0) -> redis.Redis:
    """The Redis of the settings; a dead one is noticed within a second, a hanging one after `answer_seconds`."""
    return redis.Redis.from_url(settings.redis_url, socket_connect_timeout=1, socket_timeout=answer_seconds)


class Jobs:
    """Enqueue, find, cancel. Every method raises redis.RedisError where Redis is away."""

    def __init__(self, settings: Settings, connection: redis.Redis | None = None) -> None:
        self.settings = settings
        self.connection = connection or connect(settings)
        self.queue, self.slow, self.low = (
            MgralQueue(f"{settings.queue_name}{suffix}", connection=self.connection)
            for suffix in ("", "-train", "-low")
        )

    @property
    def queues(self) -> list[MgralQueue]:
        """The queues, most urgent first."""
        return [self.queue, self.slow, self.low]

    def queue_of(self, part: str) -> MgralQueue:
        """Where a job waits that calls `backend.jobs.<part>`."""
        if part in ("train", "plan", "rank"):
            return self.slow
        return self.low if part in ("hindsight", "scan", "variant", *AFTERWARDS) else self.queue

    # -- asking for work ----------------------------------------------------------------------------------------------

    def enqueue(self, kind: str, project: int, *, anew: bool = False) -> tuple[Job, bool]:
        """(job, whether it is new): `kind` is one of KINDS. Milliseconds; fit for a webhook.

        Args:
            anew: whether a ranking that runs already is no answer, because the model that serves is another now.
        """
        following = self.following(project) if kind == "train" else None
        if following is not None and following.meta["kind"] == kind:
            return following, False  # each annotation may ask: none waits for the lock that others hold
        with self._alone(project):
            if kind not in HEADS:
                active = self.active(kind, project)
                return (active, False) if active is not None else (self._begin(kind, project), True)
            head, following = self.head(project), self.following(project)
            for job in (head, following):
                if job is not None and self._answers(job, kind, anew and job is head):
                    return job, False
            if head is None:
                return self._begin(kind, project), True
            if following is not None:  # a ranking: the training ends with one
                with suppress(InvalidJobOperation, NoSuchJobError):  # somebody cancels it this very moment
                    following.cancel()
            return self._follow(kind, project), True

    def add(
        self,
        head: str,
        part: str,
        project: int,
        *arguments: Any,
        name: str | None = None,
        after: Sequence[Job] = (),
        **meta: Any,
    ) -> Job:
        """Add a job to the cycle of `head`; one that was added before a crash is not added again.

        Args:
            part: the job calls `backend.jobs.<part>(project, *arguments)`.
            name: tells jobs of one part apart.
            after: the jobs that have to end first, well or not.

        Raises:
            CycleCancelledError: the cycle was cancelled.
        """
        job_id = f"{head}-{name or part}"
        with suppress(NoSuchJobError):
            return MgralJob.fetch(job_id, connection=self.connection, serializer=Json)
        queue = self.queue_of(part)
        job = queue.create_job(
            f"backend.jobs.{part}",
            args=(project, *arguments),
            job_id=job_id,
            depends_on=Dependency(list(after), allow_failure=True) if after else None,
            meta={"kind": part, "head": head, "project": project, "stage": WAITING, "log": [], **_asked(), **meta},
            **self._usual(f"{name or part} project {project}"),
        )
        Graph(self.connection, head).note(job)
        return queue.enqueue_job(job, at_front=part in ("plan", "rank"))

    def advance(self, project: int, ended: str | None = None) -> None:
        """Begin the cycle that follows, where the one before has ended.

        Args:
            ended: id of the job that is just ending.
        """
        with self._alone(project):
            following = self.following(project)
            if following is None or self.head(project, but=ended) is not None:
                return
            self.connection.delete(self._key("following", project))
            self.connection.set(self._key("cycle", project), following.id)
            queue = self.queue_of(FIRST[following.meta["kind"]])
            queue.deferred_job_registry.remove(following)
            following.set_status(JobStatus.CREATED)  # RQ enqueues no job that is deferred
            queue.enqueue_job(following)

    def reconcile_soon(self) -> None:
        """Put one reconciling into the queue, however many ask."""
        job_id = f"reconcile-{hashlib.sha256(self.settings.queue_name.encode()).hexdigest()[:16]}"  # any name is fit
        with suppress(NoSuchJobError):
            before = MgralJob.fetch(job_id, connection=self.connection, serializer=Json)
            age = abs(now() - (before.enqueued_at or before.created_at))  # a clock may have been set back
            if before.get_status() not in ACTIVE or age > timedelta(seconds=2 * RECONCILE_TIMEOUT):
                before.delete()
        with suppress(DuplicateJobError):
            self.queue.enqueue_call(
                "backend.jobs.reconcile",
                job_id=job_id,
                unique=True,
                timeout=RECONCILE_TIMEOUT,
                result_ttl=0,
                failure_ttl=1,
            )

    # -- finding ------------------------------------------------------------------------------------------------------

    def last(self, kind: str, project: int) -> Job | None:
        """The newest job of a kind, whatever became of it; of a cycle its head."""
        return self._fetch(self._key(kind, project))

    def active(self, kind: str, project: int) -> Job | None:
        """The job of a kind that waits or runs; of a cycle its head."""
        job = self.last(kind, project)
        return job if job is not None and Graph.of(job).active() else None

    def head(self, project: int, but: str | None = None) -> Job | None:
        """The head of the cycle that waits or runs; the job with the id `but` counts as ended."""
        head = self._fetch(self._key("cycle", project))
        return head if head is not None and Graph.of(head).active(but) else None

    def following(self, project: int) -> Job | None:
        """The head of the cycle that is to follow."""
        job = self._fetch(self._key("following", project))
        return job if job is not None and job.get_status(refresh=False) == JobStatus.DEFERRED else None

    def history(self, project: int, count: int = REMEMBERED) -> list[Job]:
        """The jobs of KINDS that were asked for last, the newest first; of a cycle its head."""
        ids = [as_text(name) for name in self.connection.lrange(self._key("history", project), 0, count - 1)]
        jobs = MgralJob.fetch_many(ids, connection=self.connection, serializer=Json) if ids else []
        return [job for job in jobs if job is not None]

    def variants(self, project: int) -> list[Job]:
        """The variants of the newest training, in their order."""
        head = self.last("train", project)
        parts = Graph.of(head).jobs() if head is not None else []
        return [job for job in parts if job.meta["kind"] == "variant"]

    def workers(self) -> dict[str, int]:
        """How many live workers take jobs of each queue, by its name. Of those of `slow` each is a `mgral work`."""
        with self.connection.pipeline(transaction=False) as pipeline:
            for queue in self.queues:
                pipeline.smembers(WORKERS_BY_QUEUE_KEY % queue.name)
            registered = pipeline.execute()
        keys = sorted(set().union(*registered))
        with self.connection.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.exists(key)  # of one that was killed the entry is gone by itself
            alive = {key for key, there in zip(keys, pipeline.execute(), strict=True) if there}
        return {queue.name: len(alive & members) for queue, members in zip(self.queues, registered, strict=True)}

    # -- ending -------------------------------------------------------------------------------------------------------

    def cancel(self, project: int) -> list[Job]:
        """Stop what runs and drop what waits for a project; the version that serves goes on serving.

        Returns the jobs of KINDS that were ended. A cycle's jobs end on whichever workers, within CANCEL_SECONDS.
        """
        self.note_end(project)
        with self._alone(project):
            heads = [self.following(project), self.head(project), self.active("predict", project)]
            ended = [job for job in heads if job is not None]
            for job in ended:
                Graph.of(job).close()
        give_up = time.monotonic() + CANCEL_SECONDS
        told: set[str] = set()
        while left := [job for head in ended for job in Graph.of(head).jobs() if job.get_status() in ACTIVE]:
            for job in left:
                with suppress(InvalidJobOperation, NoSuchJobError):  # it ended this very moment
                    self._stop(job, told)
            if time.monotonic() > give_up:
                break
            time.sleep(0.1)
        return ended

    # -- what Redis may forget ----------------------------------------------------------------------------------------

    def note_begin(self, project: int, kind: str) -> None:
        """Keep beside the project's files that a cycle has begun."""
        self.settings.artefacts.write(f"{project}/{BEGUN}", json.dumps({"kind": kind}).encode())

    def note_end(self, project: int) -> None:
        """The cycle has ended, well or not."""
        self.settings.artefacts.remove(f"{project}/{BEGUN}")

    # -- notes --------------------------------------------------------------------------------------------------------

    def note_attempt(self, project: int, annotations: int) -> None:
        """Remember how many annotations a training saw, so that a failing one is not started again by each new one."""
        self.connection.set(self._key("attempted", project), annotations)
        self.connection.delete(self._key("fewer", project))

    def attempted(self, project: int) -> int:
        """How many annotations the last training saw."""
        value = self.connection.get(self._key("attempted", project))
        return int(value) if isinstance(value, bytes) else 0

    def note_fewer(self, project: int, base: int, annotations: int) -> None:
        """Remember that of `base` annotations so few are left: new ones count from there."""
        self.connection.set(self._key("fewer", project), f"{base} {min(annotations, self.fewest(project, base))}")

    def fewest(self, project: int, base: int) -> int:
        """How many of `base` annotations were left at least; `base` where none were deleted."""
        known, _, fewest = as_text(self.connection.get(self._key("fewer", project)) or b"").partition(" ")
        return int(fewest) if known == str(base) else base

    def exclusive(self, project: int) -> redis.lock.Lock:
        """Held while what is live changes: by a publication, or by a promotion by hand."""
        return self.connection.lock(
            self._key("live", project), timeout=60, sleep=0.2, thread_local=False, lock_class=Lasting
        )

    # -- inside -------------------------------------------------------------------------------------------------------

    def _alone(self, project: int) -> redis.lock.Lock:
        """Held for the milliseconds in which a project's cycles change. Nothing is taken back where it is lost."""
        return self.connection.lock(
            self._key("enqueue", project), timeout=5, sleep=LOOK_SECONDS, raise_on_release_error=False
        )

    def _answers(self, job: Job, kind: str, anew: bool) -> bool:
        """Whether a cycle that waits or runs is what somebody asks for."""
        waits = job.get_status() in ACTIVE - {JobStatus.STARTED} and not job.started_at
        if kind == "rank":
            return waits or not anew
        return job.meta["kind"] == "train" and waits

    def _begin(self, kind: str, project: int) -> Job:
        job = self._head(kind, project)
        if kind in HEADS:
            self.connection.set(self._key("cycle", project), job.id)
        self.connection.set(self._key(kind, project), job.id)
        self._remember(project, job)
        return self.queue_of(FIRST[kind]).enqueue_job(job)

    def _follow(self, kind: str, project: int) -> Job:
        job = self._head(kind, project, status=JobStatus.DEFERRED, stage="waiting for the cycle before it")
        job.save()
        self.queue_of(FIRST[kind]).deferred_job_registry.add(job)
        for key in ("following", kind):
            self.connection.set(self._key(key, project), job.id)
        self._remember(project, job)
        return job

    def _remember(self, project: int, job: Job) -> None:
        key = self._key("history", project)
        with self.connection.pipeline() as pipeline:
            pipeline.lpush(key, job.id)
            pipeline.ltrim(key, 0, REMEMBERED - 1)
            pipeline.expire(key, KEEP_SECONDS)
            pipeline.execute()

    def _head(self, kind: str, project: int, status: JobStatus = JobStatus.QUEUED, stage: str = WAITING) -> Job:
        return self.queue_of(FIRST[kind]).create_job(
            f"backend.jobs.{FIRST[kind]}",
            args=(project,),
            status=status,
            meta={"kind": kind, "project": project, "stage": stage, "log": [], **_asked()},
            **self._usual(f"{kind} project {project}"),
        )

    def _usual(self, description: str) -> dict[str, Any]:
        return {
            "timeout": self.settings.job_timeout,
            "result_ttl": KEEP_SECONDS,
            "failure_ttl": KEEP_SECONDS,
            "retry": Retry(max=DEATHS),
            "description": description,
        }

    def _fetch(self, key: str) -> Job | None:
        job_id = self.connection.get(key)
        if not isinstance(job_id, bytes):
            return None
        try:
            return MgralJob.fetch(job_id.decode(), connection=self.connection, serializer=Json)
        except NoSuchJobError:
            return None

    def _stop(self, job: Job, told: set[str]) -> None:
        """Stop a job that runs, or cancel one that does not: because it waits, or because its worker died."""
        channel = PUBSUB_CHANNEL_TEMPLATE % job.worker_name
        if job.get_status() == JobStatus.STARTED and self.connection.pubsub_numsub(channel)[0][1]:
            if job.id not in told:
                send_stop_job_command(self.connection, job.id, serializer=Json)
                told.add(job.id)
        else:
            job.cancel()

    def _key(self, what: str, project: int) -> str:
        return f"mgral:{self.settings.queue_name}:{what}:{project}"


def _asked() -> dict[str, str]:
    """Which request asked for a job, where one did."""
    asked = request_id.request_id()
    return {request_id.META: asked} if asked else {}

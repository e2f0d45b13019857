"""What a job is here: JSON in Redis, and a function of a fixed list. Who can write to Redis cannot run code by it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rq import Queue, Retry
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import import_attribute

PARTS = ("train", "survey", "scan", "hindsight", "plan", "variant", "rank", "publish", "cross_fit", "clean_up")
"""The jobs of a cycle, in the order in which they come; "hindsight" may come earlier, "plan" needs it"""
AFTERWARDS = ("cross_fit", "clean_up")  # nobody waits for them: without them the cycle has ended
LOOK_SECONDS = 20  # that looking for abandoned jobs may take
FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
FUNCTIONS = frozenset(f"backend.jobs.{name}" for name in (*PARTS, "predict", "reconcile"))


def part_of(job: Job) -> str:
    """The name of a job's function in `backend.jobs`."""
    return (job.func_name or "").rpartition(".")[2]


class ForbiddenJobError(ValueError):
    """A job that names a function which is not in FUNCTIONS, or what is none of a project's; one line."""


class Json(JSONSerializer):
    """RQ's JSON, for a `Retry` too: RQ stores what a job returns, also when it asks to be tried again."""

    @staticmethod
    def dumps(value: Any) -> bytes:
        """UTF-8."""
        return json.dumps(value, default=_plain).encode()


class MgralJob(Job):
    """A job whose function is in FUNCTIONS. Callbacks and webhooks, which RQ would call by name, are none of ours."""

    @property
    def func(self) -> Callable[..., Any]:
        """The function that a worker is to call. Raises ForbiddenJobError."""
        if self.func_name not in FUNCTIONS or self.instance:
            raise ForbiddenJobError(
                f"job {self.id} names the function {self.func_name!r}: not one that workers run; who wrote it to Redis?"
            )
        return import_attribute(self.func_name)

    def restore(self, raw_data: Mapping[Any, Any]) -> Any:
        """Read a job's fields from Redis."""
        restored = super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self.webhooks = []
        return restored


class MgralQueue(Queue):
    """A queue of such jobs."""

    job_class = MgralJob

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(name, *args, **kwargs | {"serializer": Json, "job_class": MgralJob})

    def acquire_maintenance_lock(self) -> bool:
        """Whether the caller may look for abandoned jobs. RQ's lock lasts 15 minutes: a worker that is killed while it
        looks would leave every killed worker's job where it is for so long."""
        return bool(self.connection.set(self.registry_cleaning_key, 1, nx=True, ex=LOOK_SECONDS))


def check_names(project: object, arguments: Iterable[object], head: object) -> None:
    """Raise ForbiddenJobError unless a project is a number, and what else a job names is numbers and names of folders:
    all of it becomes part of paths.

    Args:
        head: id of the first job of the cycle.
    """
    if type(project) is not int or project <= 0:
        raise ForbiddenJobError("a job whose project is no number: who wrote it to Redis?")
    for value in (*arguments, head):
        numbers = type(value) is int and value >= 0
        if not (value is None or numbers or (isinstance(value, str) and FOLDER.fullmatch(value))):
            raise ForbiddenJobError(
                f"a job of project {project} that names {str(value)[:60]!r}: who wrote it to Redis?"
            )


def _plain(value: Any) -> Any:
    if isinstance(value, Retry):
        return {"try again in": value.intervals}
    raise TypeError(f"{type(value).__name__} {value!r} cannot be kept in Redis: jobs take and return plain JSON")

"""Images that could not be read, so that they are tried again ever more rarely, and not at each reconciling.

Kept in Redis, a hash a project: losing it only means trying again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import redis

from backend.label_studio.client import Task
from backend.queue.enqueue import Jobs

log = logging.getLogger(__name__)

PAUSES = (600, 3600, 6 * 3600, 24 * 3600)
"""seconds between a failure and the next try; after the last of them it stays at that"""
KEEP_SECONDS = 7 * 24 * 3600  # longer than the longest pause


@dataclass(frozen=True)
class Failure:
    """What is known of one image that could not be read.

    Attributes:
        image: its address: where it changed, it is another image.
        reason: the line for people, which names the image.
        when: of the last try, in seconds since 1970.
        times: tries until now.
    """

    image: str
    reason: str
    when: float
    times: int

    def __post_init__(self) -> None:
        if not (isinstance(self.when, int | float) and isinstance(self.times, int) and self.times > 0):
            raise TypeError(f"{self.when} or {self.times} is no time")

    @property
    def due(self) -> bool:
        """Whether the pause after the last try is over."""
        return time.time() - self.when >= PAUSES[min(self.times, len(PAUSES)) - 1]


class Unreadable:
    """The images of one project that could not be read."""

    def __init__(self, jobs: Jobs, project: int, data_key: str) -> None:
        """`data_key`: of `task.data`, holds the image."""
        self.connection, self.data_key = jobs.connection, data_key
        self.key = f"mgral:{jobs.settings.queue_name}:unreadable:{project}"

    def note(self, task: Task, reason: str) -> None:
        """The image of a task could not be read, once more. Where Redis is away, it is forgotten."""
        try:
            known, image = self._known().get(task.id), self._image(task)
            times = known.times + 1 if known is not None and known.image == image else 1
            failure = Failure(image, reason, time.time(), times)
            self.connection.hset(self.key, str(task.id), json.dumps(asdict(failure)))
            self.connection.expire(self.key, KEEP_SECONDS)
        except redis.RedisError as error:
            log.warning("not noted for later: %s (%s)", reason, error)

    def due(self, tasks: Iterable[Task]) -> list[Task]:
        """Those of the tasks that are worth trying now: never failed, changed since, or not tried for long enough.

        Raises redis.RedisError where Redis is away.
        """
        known = self._known()
        return [
            task
            for task in tasks
            if (failure := known.get(task.id)) is None or failure.due or failure.image != self._image(task)
        ]

    def _known(self) -> dict[int, Failure]:
        """Failures by task; what is damaged counts as unknown."""
        failures = {}
        for task, text in self.connection.hgetall(self.key).items():
            try:
                failures[int(task)] = Failure(**json.loads(text))
            except (TypeError, ValueError):
                continue
        return failures

    def _image(self, task: Task) -> str:
        return str(task.data.get(self.data_key))

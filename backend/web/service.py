"""What every route needs: the settings, the queue, which projects are known, and who may ask."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from functools import partial
from typing import Any

import redis
from flask import current_app

from agent.holdout import Compared
from backend.at_once import AtOnce, BusyError
from backend.label_studio.client import Studio, StudioError
from backend.plugin import ANSWER_SECONDS, NOT_READY, version_of
from backend.project.review.labeled import labeled_among
from backend.queue.enqueue import Jobs, connect
from backend.settings import Settings
from backend.web.about import Abouts
from backend.web.access import Access
from backend.web.comparisons import Comparisons
from backend.web.faults import Fault
from backend.web.known import Known

log = logging.getLogger(__name__)

EXTENSION = "mgral"
READERS, READ_SECONDS = 4, 1.0  # of what is live, which may lie in a bucket; Label Studio waits 3 s for /setup
CHOOSERS, CHOOSE_SECONDS = 2, 30.0  # of the version that serves, for which Label Studio is asked
ASKERS, ASK_SECONDS = 2, 0.5  # of what a page shows beside what is known here
SILENT_SECONDS = 30.0  # after Label Studio did not answer in time, in which no page waits for it
REST_SECONDS = 1.0  # after Redis hung, in which it is not asked: each question costs its time limit
FULL = {"Retry-After": "60"}


class Service:
    """What one application has."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.jobs = Jobs(settings, connect(settings, ANSWER_SECONDS))
        self.known = Known(settings, self.jobs)
        self.abouts = Abouts(settings, self.jobs)
        self.access = Access(settings)
        self.resting_until = 0.0
        self.reading = AtOnce(READERS)
        self.ended: dict[str, Any] = {}
        self.choosing = AtOnce(CHOOSERS)
        self.asking = AtOnce(ASKERS)
        self.silent_until = 0.0
        self.comparisons: Comparisons[Compared | None] = Comparisons()
        self.shown: dict[int, str] = {}

    def labeled_among(self, project: int, tasks: Sequence[int]) -> Set[int] | None:
        """Which of a page's tasks hold an annotation now; None where Label Studio does not say so in time."""
        if not tasks or time.monotonic() < self.silent_until:
            return None if tasks else set()
        try:
            studio = Studio.shared(self.settings)
            return self.asking.run(ASK_SECONDS, partial(labeled_among, studio, project, tasks))
        except BusyError:  # others ask: that says nothing of Label Studio
            return None
        except (StudioError, OSError, ValueError, TypeError, KeyError) as error:
            said = str(error) or "it takes too long"
            log.info("project %d: which tasks are labeled is not shown: %s", project, said)
            self.silent_until = time.monotonic() + SILENT_SECONDS
            return None

    def version(self, project: int) -> str | None:
        """The model version that the project's predictions bear; the last that was read where a bucket or a network
        disk does not answer within a second. None where there never was one to read."""
        try:
            version = self.reading.run(READ_SECONDS, partial(version_of, self.settings, project))
        except (BusyError, OSError, ValueError) as error:
            log.error("project %d: what is live cannot be read now: %s", project, str(error) or "it takes too long")
            return self.shown.get(project)
        if version != NOT_READY:
            self.shown[project] = version
        return version

    @contextmanager
    def queue(self) -> Iterator[Jobs]:
        """The queue. Raises redis.RedisError where it is away, also without asking where it was a moment ago."""
        if time.monotonic() < self.resting_until:
            raise redis.ConnectionError("away a moment ago, not asked again yet")
        try:
            yield self.jobs
        except redis.TimeoutError:
            self.resting_until = time.monotonic() + REST_SECONDS
            raise

    def make_room(self) -> None:
        """Raise Fault where as many jobs wait as may. Raises redis.RedisError."""
        with self.jobs.connection.pipeline(transaction=False) as pipeline:
            for queue in (self.jobs.queue, self.jobs.slow):
                pipeline.llen(queue.key)
            waiting = sum(pipeline.execute())
        if waiting >= self.settings.max_waiting_jobs:
            raise Fault(503, f"{waiting} jobs wait already (MAX_WAITING_JOBS): start more workers, or try later", FULL)

    def may_begin(self, project: int) -> bool:
        """Whether the first work of a project may be asked for: it is known, and there is room.

        Raises Fault where there is no such project.
        """
        try:
            with self.queue():
                self.known.check(project)
                self.make_room()
        except Fault as fault:
            if not fault.passes:
                raise
            return False
        except (redis.RedisError, OSError):
            return False
        return True


def service() -> Service:
    """Of the application that answers."""
    return current_app.extensions[EXTENSION]

"""Titles and counts of projects, from Label Studio: the last ones that are known, so that no page waits for it.

Whoever asks gets what was learned last, and Label Studio is asked again in the background where that is older than
FRESH_SECONDS. Only for a project of which nothing is known yet an answer is waited for, FIRST_SECONDS at most. Redis
keeps what was learned for the other processes, and for a backend that begins while Label Studio is away.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import redis

from backend.label_studio.client import Studio, StudioError
from backend.label_studio.deadline import within
from backend.queue.enqueue import Jobs
from backend.settings import Settings

log = logging.getLogger(__name__)

FRESH_SECONDS = 5.0
FIRST_SECONDS = 0.08
ANSWER_SECONDS = 10.0  # that Label Studio may take, while nobody waits
PAGE = 100  # projects that it lists at once
FIELDS = "id,title,task_number,num_tasks_with_annotations"  # counting costs a query each


@dataclass(frozen=True)
class About:
    """What Label Studio says of a project.

    Attributes:
        tasks, labeled: how many tasks there are, and how many of them hold an annotation that is no skip.
        when: seconds since 1970; when it was asked.
    """

    title: str
    tasks: int
    labeled: int
    when: float


class Abouts:
    """What one process knows of all projects. Never raises: what is not known is missing."""

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self.settings, self.jobs = settings, jobs
        self.known: dict[int, About] = {}
        self.asked = 0.0
        self.asking = threading.Lock()
        self.key = f"mgral:{settings.queue_name}:about"

    def of(self, projects: Sequence[int]) -> dict[int, About]:
        """What is known of each of these projects."""
        new = [project for project in projects if project not in self.known]
        if new:
            self._recall(new)
        unknown = any(project not in self.known for project in new)
        if time.monotonic() >= self.asked + FRESH_SECONDS and self.asking.acquire(blocking=False):
            with suppress(TimeoutError):
                within(FIRST_SECONDS if unknown else 0.0, partial(self._ask, list(projects)))
        return {project: self.known[project] for project in projects if project in self.known}

    def _recall(self, projects: Sequence[int]) -> None:
        """Read what another process learned, or this one before it began anew."""
        with suppress(redis.RedisError, ValueError, TypeError):
            kept = self.jobs.connection.hmget(self.key, list(map(str, projects)))
            for project, text in zip(projects, kept, strict=True):
                if isinstance(text, bytes):
                    self.known.setdefault(project, About(**json.loads(text)))

    def _ask(self, projects: Sequence[int]) -> None:
        """In a thread that may outlive the request that waits for it."""
        try:
            studio = Studio.shared(self.settings)
            for start in range(0, len(projects), PAGE):
                found = _listed(studio, projects[start : start + PAGE])
                self.known |= found
                self._keep(found)
        except (StudioError, OSError, ValueError, TypeError, KeyError) as error:
            log.info("titles and counts of projects are those of before: %s", error)
        finally:
            self.asked = time.monotonic()
            self.asking.release()

    def _keep(self, found: dict[int, About]) -> None:
        if found:
            with suppress(redis.RedisError):
                kept: dict[Any, Any] = {str(project): json.dumps(asdict(about)) for project, about in found.items()}
                self.jobs.connection.hset(self.key, mapping=kept)


def _listed(studio: Studio, projects: Iterable[int]) -> dict[int, About]:
    """What Label Studio lists of these projects; those that it does not show are missing."""
    asked = {"ids": ",".join(map(str, projects)), "page_size": PAGE, "include": FIELDS}
    rows = studio.call("GET", "/api/projects/", params=asked, timeout=(1, ANSWER_SECONDS))["results"]
    now = time.time()
    return {
        int(row["id"]): About(
            str(row["title"]), int(row["task_number"] or 0), int(row["num_tasks_with_annotations"] or 0), now
        )
        for row in rows
    }

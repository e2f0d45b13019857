"""Which projects are worked for: those that have files or jobs here, and those that Label Studio shows to our token."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial

from backend.label_studio.client import Studio, StudioError, _MissingError
from backend.label_studio.deadline import within
from backend.project.serving import known_projects
from backend.queue.enqueue import HEADS, Jobs
from backend.settings import Settings
from backend.web.faults import LATER, Fault

log = logging.getLogger(__name__)

ASK_SECONDS = 0.6  # an annotator's submit waits for a webhook, a second at most
QUEUE_SECONDS = 0.1  # that one question waits for another: who asks for many made-up projects holds up nobody else
AGAIN_SECONDS = 60.0  # after which a project that was not there is asked for again
MOST = 10_000  # answers that are remembered


class Known:
    """Remembers what was found; one question to Label Studio at a time, however many ask."""

    def __init__(self, settings: Settings, jobs: Jobs) -> None:
        self.settings, self.jobs = settings, jobs
        self.found: set[int] = set()
        self.missing: dict[int, float] = {}
        self.asking = threading.Lock()

    def here(self, project: int) -> bool:
        """Whether there are files or jobs of the project. Raises redis.RedisError, OSError."""
        if project not in self.found and (
            project in known_projects(self.settings) or any(self.jobs.last(kind, project) for kind in HEADS)
        ):
            self.found.add(project)
        return project in self.found

    def check(self, project: int) -> None:
        """Raise Fault unless the project is known here, or Label Studio says that there is one."""
        if self.here(project):
            return
        if time.monotonic() < self.missing.get(project, 0.0) or not self._there(project):
            raise Fault(404, f"project {project} is not connected: run `mgral connect {project}`")

    def _there(self, project: int) -> bool:
        """Whether Label Studio shows our token such a project. Raises Fault where it does not say so now."""
        if not self.asking.acquire(timeout=QUEUE_SECONDS):
            raise self._unclear(project, "others are asked for")
        try:
            there = within(ASK_SECONDS, partial(self._ask, project))
        except (StudioError, TimeoutError, ValueError, OSError) as error:
            raise self._unclear(project, str(error) or "it does not answer in time") from None
        if there:
            self.found.add(project)
        else:
            if len(self.missing) >= MOST:
                self.missing.clear()
            self.missing[project] = time.monotonic() + AGAIN_SECONDS
        return there

    def _ask(self, project: int) -> bool:
        """In a thread that may outlive the request that waits for it; the next question waits for its end."""
        try:
            Studio.shared(self.settings).call("GET", f"/api/projects/{project}/", timeout=(ASK_SECONDS, ASK_SECONDS))
        except _MissingError:
            return False
        finally:
            self.asking.release()
        return True

    def _unclear(self, project: int, why: str) -> Fault:
        log.info("project %d is not known here, and Label Studio does not say whether there is one: %s", project, why)
        line = f"project {project} is not known here, and Label Studio does not say whether there is one: try again"
        return Fault(404, line, LATER)

"""Keeps the card of the backend in Label Studio up to date: its title says what runs, and then what serves.

A thread of `mgral serve` does it, of one process at a time (a lock in Redis). So no job waits for it, no worker has to
live for the last word, and a Label Studio that is away costs nothing but its cards.

The backend is found among a project's by its address: Label Studio calls /setup whenever it looks at one, and the Host
header says under which address it does. A name that somebody gave it stays: what is said follows it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import redis
from rq.job import Job
from rq.utils import as_text

from backend.label_studio.client import Studio, StudioAway, StudioError
from backend.project.serving import named_of, store_of
from backend.queue.enqueue import HEADS, Jobs
from backend.queue.progress import describe
from backend.settings import Settings
from backend.web.watch import card
from model.versions import VersionError

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
EACH_SECONDS = 10.0  # between two titles that say how far something is
IDLE_SECONDS = 15.0  # between two looks at a project in which nothing runs
CHECK_SECONDS = 5.0  # after which a last word is read again: whoever looks at the card meanwhile writes the one before
REST_SECONDS = 10.0  # in which Label Studio is not asked after it did not answer
HOLD_SECONDS = 30.0  # after which another process takes over from one that died
ANSWER_SECONDS = (1, 10)  # to connect, and to answer; it asks /health and /setup of the backend before it does
SEPARATOR = " · "
NAME = "MGRAL"


class _BusyError(Exception):
    """What is live is being changed."""


class Cards:
    """The cards of all projects, as one process sees them. `note` may be called by any thread."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.jobs = Jobs(settings)
        self.key = f"mgral:{settings.queue_name}:cards"
        self.lock = self.jobs.connection.lock(f"{self.key}:lock", HOLD_SECONDS, thread_local=False, blocking=False)
        self.noted: dict[int, str] = {}
        self.told: dict[int, str] = {}
        self.studio: Studio | None = None
        self.resting_until = 0.0
        self._forget()

    def note(self, project: int, host: str) -> None:
        """Label Studio knows the backend of a project under this host."""
        self.noted[project] = host

    def start(self) -> None:
        """Keep the cards up to date as long as this process lives."""
        threading.Thread(target=self._keep_on, daemon=True, name="cards").start()

    def look(self) -> None:
        """Do once what is due. Raises redis.RedisError."""
        for project, host in dict(self.noted).items():
            if self.told.get(project) != host:
                self.jobs.connection.hset(self.key, str(project), host)
                self.told[project] = host
        if not self._holds():
            self._forget()
            return
        hosts = {int(name): as_text(host) for name, host in self.jobs.connection.hgetall(self.key).items()}
        cycles = self._cycles(list(hosts))
        for project, host in hosts.items():
            due = time.monotonic() >= self.next.get(project, 0.0)
            if due or cycles[project] != self.cycles.get(project):
                self._update(project, host)
                self.cycles[project] = cycles[project]

    def said(self, project: int) -> tuple[str, bool]:
        """(what the card of a project is to say, whether something runs)."""
        head = self.jobs.head(project)
        if head is not None:
            return card.of_work(describe(head), self.jobs.workers()[self.jobs.slow.name]), True
        ended = [job for kind in HEADS if (job := self.jobs.last(kind, project)) is not None]
        last = describe(max(ended, key=_asked)) if ended else None
        if last is not None and last["status"] == "failed":
            return card.of_failure(last), False
        return card.of_version(named_of(store_of(self.settings, project))), False

    def _forget(self) -> None:
        """Know nothing: another process may have said something else since."""
        self.sent: dict[int, tuple[str, float]] = {}  # what the card says, since when
        self.check: dict[int, float] = {}  # when to read it again
        self.ran: set[int] = set()  # projects whose card says what runs
        self.rows: dict[int, list[dict[str, Any]]] = {}  # the backends of a project that are this one
        self.next: dict[int, float] = {}
        self.cycles: dict[int, str | None] = {}

    def _keep_on(self) -> None:
        while True:
            try:
                self.look()
            except redis.RedisError as error:
                log.debug("cards wait, because Redis is away: %s", error)
            except Exception:
                log.exception("the cards in Label Studio were not updated")
            time.sleep(LOOK_SECONDS)

    def _holds(self) -> bool:
        """Whether this process keeps the cards."""
        with suppress(redis.exceptions.LockError):
            if self.lock.owned():
                self.lock.reacquire()
                return True
        return bool(self.lock.acquire())

    def _cycles(self, projects: list[int]) -> dict[int, str | None]:
        """The cycle that was begun last in each project, in one question."""
        keys = [f"mgral:{self.settings.queue_name}:cycle:{project}" for project in projects]
        held = self.jobs.connection.mget(keys) if keys else []
        return {project: as_text(one) if one else None for project, one in zip(projects, held, strict=True)}

    def _update(self, project: int, host: str) -> None:
        now = time.monotonic()
        try:
            said, runs = self.said(project)
        except (OSError, ValueError, VersionError) as error:  # a damaged file, of which `doctor` says more
            log.debug("project %d: its card is left as it is: %s", project, error)
            said, runs = "", False
        self.next[project] = now + (0 if runs else IDLE_SECONDS)
        before, since = self.sent.get(project, ("", -float("inf")))
        if now >= self.check.get(project, 0.0):
            self.rows.pop(project, None)
        elif said == before or (runs and project in self.ran and now - since < EACH_SECONDS):
            return
        if not said or now < self.resting_until:
            return
        try:
            changed = self._send(project, host, said)
        except _BusyError:
            self.next[project] = now
        except (StudioError, OSError) as error:
            log.info("project %d: its card in Label Studio waits: %s", project, error)
            self.rows.pop(project, None)
            if isinstance(error, StudioError) and not isinstance(error, StudioAway):  # this project's alone
                self.next[project] = now + self.settings.reconcile_seconds
            else:
                self.resting_until = now + REST_SECONDS
        else:
            again = CHECK_SECONDS if changed and not runs else self.settings.reconcile_seconds
            self.sent[project], self.check[project] = (said, now), now + again
            self.next[project] = min(self.next[project], now + again)
            (self.ran.add if runs else self.ran.discard)(project)

    def _send(self, project: int, host: str, said: str) -> bool:
        """Whether the card had to be changed. Raises _BusyError where something is being made live this moment."""
        self.studio = self.studio or Studio.from_settings(self.settings)
        if project not in self.rows:
            held = self.studio.call("GET", "/api/ml", params={"project": project}, timeout=ANSWER_SECONDS)
            self.rows[project] = [row for row in held if urlsplit(row["url"]).netloc == host]
        changed = False
        for row in self.rows[project]:
            title = f"{(row['title'] or NAME).partition(SEPARATOR)[0]}{SEPARATOR}{said}"
            if title != row["title"]:
                wanted = {"url": row["url"], "project": project, "title": title, **self._password()}
                with self._alone(project):
                    self.studio.call("PATCH", f"/api/ml/{row['id']}", json=wanted, timeout=ANSWER_SECONDS)
                row["title"], changed = title, True
        return changed

    @contextmanager
    def _alone(self, project: int) -> Iterator[None]:
        """While nothing is made live: Label Studio writes `model_version` too, an older one, where it is the title."""
        lock = self.jobs.exclusive(project)
        if not lock.acquire(blocking=False):
            raise _BusyError
        try:
            yield
        finally:
            with suppress(redis.exceptions.LockError):
                lock.release()

    def _password(self) -> dict[str, str]:
        """Label Studio tries the backend before it saves it, with what it is sent."""
        if not self.settings.basic_auth_user:
            return {}
        return {
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": self.settings.basic_auth_user,
            "basic_auth_pass": self.settings.basic_auth_pass,
        }


def _asked(job: Job) -> float:
    return job.created_at.timestamp()

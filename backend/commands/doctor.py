"""Checks everything that the service stands on, and names the remedy for each failure."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import redis
from rq import Worker

from backend.commands.doctor_files import FilesCheck
from backend.commands.doctor_project import ProjectCheck
from backend.commands.findings import Finding, SickError, find
from backend.label_studio.client import Studio
from backend.project.serving import INSTEAD, known_projects, projects
from backend.queue.enqueue import Jobs, connect
from backend.settings import Settings
from model.detectors.open import file_of, open_detector

LOW_DISK_GB = 5.0
KEEPS_ALL = "noeviction"  # Redis's own default; servers that are meant as caches have others


def examine(settings: Settings, project: int | None = None) -> Iterator[Finding]:
    """Run every check; one that fails does not stop the next. Projects need Label Studio and the token.

    Args:
        project: to look at closely, and at no other; by default all projects are looked at briefly.
    """
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("Label Studio", _label_studio),
        ("token", _token),
        ("Redis", _redis),
        ("worker", _worker),
        ("weights", _weights),
        ("disk", _disk),
    ]
    sick = set()
    for what, check in checks:
        finding = find(what, partial(check, settings))
        if not finding.well:
            sick.add(what)
        yield finding
    for number in known_projects(settings) if project is None else [project]:
        yield from FilesCheck(settings, number).all()
    if sick.isdisjoint({"Label Studio", "token"}):
        if project is not None:
            yield from ProjectCheck(settings, project).all()
            return
        for number in projects(settings):
            yield from ProjectCheck(settings, number).few()


def _label_studio(settings: Settings) -> str:
    studio = Studio(settings.label_studio_url, "none")
    version = studio.call("GET", "/api/version", timeout=(5, 10))
    return f"{settings.label_studio_url} answers, version {version.get('release', '?')}"


def _token(settings: Settings) -> str:
    user = Studio.from_settings(settings).call("GET", "/api/current-user/whoami", timeout=(5, 10))
    return f"belongs to {user.get('email') or user.get('username')}"


def _redis(settings: Settings) -> str:
    connection = connect(settings)
    try:
        connection.ping()
        with suppress(redis.ResponseError):  # a Redis of others' may keep it to itself
            _keeps_all(connection.info("memory"))
    except redis.RedisError as error:
        raise SickError(
            f"{settings.redis_url} does not answer ({error}): start Redis (`docker compose up redis`), or set REDIS_URL"
        ) from error
    return f"{settings.redis_url} answers"


def _keeps_all(memory: dict[str, Any]) -> None:
    """Raises SickError where Redis, once it is full, would throw away jobs and locks without a word."""
    policy = memory.get("maxmemory_policy", KEEPS_ALL)
    if memory.get("maxmemory") and policy != KEEPS_ALL:
        raise SickError(
            f"when it is full it throws away what it holds, jobs and locks too (maxmemory-policy {policy}): start it "
            f"with `--maxmemory-policy {KEEPS_ALL}`"
        )


def _worker(settings: Settings) -> str:
    try:
        jobs = Jobs(settings)
        workers = Worker.all(connection=jobs.connection)
    except redis.RedisError as error:
        raise SickError("unknown, because Redis does not answer: start Redis first") from error
    queue = jobs.slow.name  # the second process of a worker listens to what is short only
    listeners = [worker for worker in workers if queue in worker.queue_names()]
    if not listeners:
        raise SickError(f"none listens to the queue {settings.queue_name!r}: start one with `mgral work`")
    return f"{len(listeners)} listening to the queue {settings.queue_name!r}"


def _weights(settings: Settings) -> str:
    """What a project that begins now starts from; the starter weights pass under their own name only."""
    weights = settings.weights
    file = None if weights.startswith("torchvision:") else file_of(weights)
    if file is None and not weights.startswith("torchvision:"):
        raise SickError(f"{weights} could not be downloaded: {INSTEAD}")
    detector = open_detector(file or weights)
    where = f" ({file})" if file is not None and str(file) != weights else ""
    return f"{weights} opens{where}, {len(detector.names)} classes"


def _disk(settings: Settings) -> str:
    said = []
    settings.artefacts.names()  # fails where MODEL_DIR is a URL that does not answer
    for name, folder in (("MODEL_DIR", settings.artefacts.local), ("CACHE_DIR", settings.cache_dir)):
        folder.mkdir(parents=True, exist_ok=True)
        probe = Path(folder) / ".doctor"
        probe.write_text("")
        probe.unlink()
        free = shutil.disk_usage(folder).free / 2**30
        if free < LOW_DISK_GB:
            raise SickError(f"{name} {folder}: {free:.1f} GB free; make room, or point {name} elsewhere")
        said.append(f"{name} {folder}: {free:.0f} GB free")
    return "; ".join(said)

"""Checks everything that the service stands on, and names the remedy for each failure."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import redis
from rq import Worker

from backend.label_studio.client import Studio, StudioError
from backend.queue.enqueue import connect
from backend.settings import Settings
from model.detectors.base import WeightsError
from model.detectors.open import open_detector

LOW_DISK_GB = 5.0


class Finding(NamedTuple):
    """One check: what was looked at, whether it is well, and what was seen or what to do."""

    what: str
    well: bool
    said: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Run every check; one that fails does not stop the next."""
    checks: list[tuple[str, Callable[[Settings], str]]] = [
        ("Label Studio", _label_studio),
        ("token", _token),
        ("Redis", _redis),
        ("worker", _worker),
        ("weights", _weights),
        ("disk", _disk),
    ]
    for what, check in checks:
        try:
            yield Finding(what, True, check(settings))
        except (StudioError, WeightsError, redis.RedisError, OSError, _Sick) as error:
            yield Finding(what, False, str(error))


class _Sick(RuntimeError):
    pass


def _label_studio(settings: Settings) -> str:
    studio = Studio(settings.label_studio_url, "none")
    version = studio.call("GET", "/api/version", timeout=(5, 10))
    return f"{settings.label_studio_url} answers, version {version.get('release', '?')}"


def _token(settings: Settings) -> str:
    user = Studio.from_settings(settings).call("GET", "/api/current-user/whoami", timeout=(5, 10))
    return f"belongs to {user.get('email') or user.get('username')}"


def _redis(settings: Settings) -> str:
    try:
        connect(settings).ping()
    except redis.RedisError as error:
        raise _Sick(
            f"{settings.redis_url} does not answer ({error}): start Redis (`docker compose up redis`), or set REDIS_URL"
        ) from error
    return f"{settings.redis_url} answers"


def _worker(settings: Settings) -> str:
    try:
        workers = Worker.all(connection=connect(settings))
    except redis.RedisError as error:
        raise _Sick("unknown, because Redis does not answer: start Redis first") from error
    listeners = [worker for worker in workers if settings.queue_name in worker.queue_names()]
    if not listeners:
        raise _Sick(f"none listens to the queue {settings.queue_name!r}: start one with `mgral work`")
    return f"{len(listeners)} listening to the queue {settings.queue_name!r}"


def _weights(settings: Settings) -> str:
    detector = open_detector(settings.weights)
    return f"{settings.weights} opens, {len(detector.names)} classes"


def _disk(settings: Settings) -> str:
    said = []
    for name, folder in (("MODEL_DIR", settings.model_dir), ("CACHE_DIR", settings.cache_dir)):
        folder.mkdir(parents=True, exist_ok=True)
        probe = Path(folder) / ".doctor"
        probe.write_text("")
        probe.unlink()
        free = shutil.disk_usage(folder).free / 2**30
        if free < LOW_DISK_GB:
            raise _Sick(f"{name} {folder}: {free:.1f} GB free; make room, or point {name} elsewhere")
        said.append(f"{name} {folder}: {free:.0f} GB free")
    return "; ".join(said)

"""What a check of `mgral doctor` found."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import redis

from backend.label_studio.client import StudioError
from backend.redaction import CONTROL, redact
from model.detectors.base import WeightsError
from model.versions import VersionError


class Finding(NamedTuple):
    """One check: what was looked at, whether it is well, and what was seen or what to do."""

    what: str
    well: bool
    said: str


class SickError(RuntimeError):
    """Something is not well; the message says what, and the remedy."""


def find(what: str, check: Callable[[], str]) -> Finding:
    """What a check says, which returns what it saw, or raises what is not well; without passwords, and without what a
    terminal obeys: titles and labels are other people's."""
    try:
        return Finding(what, True, _fit(check()))
    except (StudioError, WeightsError, VersionError, redis.RedisError, OSError, ValueError, SickError) as error:
        return Finding(what, False, _fit(str(error)))


def _fit(said: str) -> str:
    return "\n".join(CONTROL.sub(" ", line) for line in redact(said).split("\n"))

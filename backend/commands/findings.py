"""What a check of `mgral doctor` found."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import redis

from backend.label_studio.client import StudioError
from backend.redaction import redact
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
    """What a check says, which returns what it saw, or raises what is not well; without passwords."""
    try:
        return Finding(what, True, redact(check()))
    except (StudioError, WeightsError, VersionError, redis.RedisError, OSError, ValueError, SickError) as error:
        return Finding(what, False, redact(str(error)))

"""The one place that turns faults into answers: a status, one line that says what to do, and nothing of our inside."""

from __future__ import annotations

import logging
import sqlite3

import redis
from flask import Response, jsonify, request
from pydantic import ValidationError
from rq.exceptions import InvalidJobOperation, NoSuchJobError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from backend.at_once import BusyError
from backend.label_studio.client import StudioAway, StudioError
from backend.label_studio.labels import LabelConfigError
from backend.redaction import CONTROL, redact
from model.damage import DamagedError
from model.detectors.base import WeightsError
from model.versions import VersionError

log = logging.getLogger(__name__)

LONGEST = 500  # characters of an answer's line
LATER = {"Retry-After": "5"}

LINES: dict[type[Exception], tuple[int, str]] = {
    redis.RedisError: (503, "Redis is away: start it, or set REDIS_URL; the backend's log says more"),
    StudioAway: (503, "Label Studio does not answer the backend: try again later; the backend's log says more"),
    StudioError: (502, "Label Studio refuses the backend: `mgral doctor` says why"),
    WeightsError: (503, "the weights of the model that is live cannot be opened: `mgral doctor` says why"),
    VersionError: (503, "the model version that is live is not there: `mgral doctor` and `mgral versions` say more"),
    InvalidJobOperation: (503, "the jobs of the project are being changed this moment: try again"),
    NoSuchJobError: (503, "the jobs of the project are being changed this moment: try again"),
    BusyError: (503, "as much as there is room for is being done: try again later"),
    TimeoutError: (503, "it took too long: try again later"),
    DamagedError: (503, "what is live cannot be read: `mgral doctor` says which file, and what to do"),
    ValidationError: (503, "what is kept here cannot be read: `mgral doctor` says which file, and what to do"),
    sqlite3.Error: (503, "a file of MODEL_DIR or CACHE_DIR cannot be read or written now: see whether a disk is full"),
    OSError: (503, "the files of MODEL_DIR cannot be read now: `mgral doctor` says why"),
}
"""What is not the asker's fault: the log says which, the answer what to do. The first that fits"""


class Fault(Exception):
    """A request that is refused: `line` says why and what to do, in words that anybody may read."""

    def __init__(self, status: int, line: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(line)
        self.status, self.line, self.headers = status, line, headers or {}

    @property
    def passes(self) -> bool:
        """Whether the same request may be answered later."""
        return "Retry-After" in self.headers


def refused(error: ValidationError) -> Fault:
    """What is wrong in a request. Of what is kept here the same error is nobody's fault who asks."""
    return Fault(400, _invalid(error))


def answer(error: Exception) -> Response:
    """The answer to a request that failed."""
    status, line, headers = told(error)
    response = jsonify(error=line)
    response.status_code = status
    response.headers.update(headers)
    return response


def told(error: Exception) -> tuple[int, str, dict[str, str]]:
    """(status, line, headers) of the answer to a request that failed; what is not the asker's fault is logged."""
    status, line, headers = _told(error)
    said = CONTROL.sub(" ", redact(" ".join(line[: 10 * LONGEST].split())))
    return status, said if len(said) <= LONGEST else f"{said[:LONGEST]}...", headers


def _told(error: Exception) -> tuple[int, str, dict[str, str]]:
    if isinstance(error, Fault):
        return error.status, error.line, error.headers
    if isinstance(error, RequestEntityTooLarge):
        return 413, "the body is larger than MAX_BODY_MB allows: ask for fewer tasks at once", {}
    if isinstance(error, HTTPException):
        allowed = {name: value for name, value in error.get_headers() if name in ("Allow", "Location")}
        return error.code or 500, error.description or error.name, allowed
    if isinstance(error, LabelConfigError):
        return 400, str(error), {}
    for kind, (status, line) in LINES.items():
        if isinstance(error, kind):
            log.error("%s %s: %s", request.method, request.path, error)
            return status, line, LATER if status == 503 else {}
    log.error("%s %s", request.method, request.path, exc_info=error)
    return 500, "an error of the backend's own; its log says more", {}


def _invalid(error: ValidationError) -> str:
    """The first thing that is wrong, and where."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    said = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "json_invalid":
        return f"the body is no JSON that can be read: {said.removeprefix('Invalid JSON: ')}"
    if not place:
        return "the body must be a JSON object"
    return f"{place}: {said[:1].lower()}{said[1:]}{_shown(first['input'])}"


def _shown(value: object) -> str:
    """A wrong value, where it is short enough to be one."""
    if value is None or isinstance(value, bool | float) or (isinstance(value, int) and abs(value) < 10**40):
        return f", not {value}"
    if isinstance(value, str):
        return f", not {value[:60]!r}"
    return ""

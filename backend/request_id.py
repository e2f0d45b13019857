"""The id under which a request can be followed: in the backend's log, in its answer, and in the log of the workers.

It is X-Request-ID where whoever asks names one that is harmless in a log, else made here. A command that asks for work
has one too. It goes with a job in its `meta`, and from there to the jobs that this one adds. What runs beside a request
in a thread has it if it runs in a copy of the request's context, as `within` does.
"""

from __future__ import annotations

import re
import uuid
from contextvars import ContextVar

HEADER = "X-Request-ID"
META = "request"
"""Where a job's `meta` has it"""
SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{7,63}")
"""What others' proxies send: a UUID, a number in hex, a W3C trace id"""

_request: ContextVar[str] = ContextVar("request", default="")
_job: ContextVar[str] = ContextVar("job", default="")


def request_id() -> str:
    """Of the request that is being answered, or of the one that asked for the job that runs; "" where there is none."""
    return _request.get()


def job_id() -> str:
    """Of the job that runs; "" where none does."""
    return _job.get()


def begin(asked: object = None, job: str = "") -> str:
    """From here on the log lines of this thread bear `asked`, if it is sane, or a new id; returns which."""
    taken = asked if isinstance(asked, str) and SANE.fullmatch(asked) else uuid.uuid4().hex
    _request.set(taken)
    _job.set(job)
    return taken


def end() -> None:
    """The request is answered, or the job has ended."""
    _request.set("")
    _job.set("")

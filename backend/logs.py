"""What a log line looks like: text for people, or JSON for whatever collects logs (LOG_FORMAT).

    2026-11-27 10:15:01,250 INFO backend.web.protocol [5f0c2e...]: project 7: train queued by START_TRAINING
    {"time": "2026-11-27T10:15:01.250Z", "level": "INFO", "logger": "backend.web.protocol", "message": "project 7: ...",
     "process": 41, "request_id": "5f0c2e...", "job": "...", "audit": {...}, "traceback": "..."}

Passwords, tokens and signatures are cut out of both, because `guard_logs` cuts them out of every record. For the same
reason a line holds these fields only: what else a library may attach to a record was read by nobody.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from backend.redaction import guard_logs
from backend.request_id import job_id, request_id
from backend.settings import Settings

TEXT = "%(asctime)s %(levelname)s %(name)s%(request)s: %(message)s"


class TextFormatter(logging.Formatter):
    """One line, but for tracebacks."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def format(self, record: logging.LogRecord) -> str:
        """With the id of the request in brackets, where there is one."""
        record.request = f" [{request_id()}]" if request_id() else ""
        return super().format(record)


class JsonFormatter(logging.Formatter):
    """One line; fields without a value are left out."""

    def format(self, record: logging.LogRecord) -> str:
        """ASCII."""
        traceback = record.exc_text or (self.formatException(record.exc_info) if record.exc_info else None)
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            "request_id": request_id(),
            "job": job_id(),
            "audit": getattr(record, "audit", None),
            "traceback": traceback,
        }
        return json.dumps({name: value for name, value in line.items() if value not in ("", None)}, default=str)


FORMATTERS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


def start(settings: Settings) -> None:
    """Log to standard error from here on, as the settings say."""
    handler = logging.StreamHandler()
    handler.setFormatter(FORMATTERS[settings.log_format]())
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    guard_logs(settings.secrets)

"""What every route needs: the settings, the queue, and the body of the request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import current_app, request

from backend.queue.enqueue import Jobs
from backend.settings import Settings

EXTENSION = "mgral"


@dataclass(frozen=True)
class Service:
    """One application's settings and queue."""

    settings: Settings
    jobs: Jobs


def service() -> Service:
    """Of the application that answers."""
    return current_app.extensions[EXTENSION]


def body() -> dict[str, Any]:
    """The request's JSON object; an empty one where there is none."""
    sent = request.get_json(force=True, silent=True)
    return sent if isinstance(sent, dict) else {}

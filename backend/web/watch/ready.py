"""`GET /ready`: whether this process should be sent requests. `/health` says only that it runs.

Ready means that what is known can be answered: MODEL_DIR could be read. A bucket that goes away later takes nothing of
that, because the process goes on with what it has read; a directory does. Redis and workers are told and do not
decide: without them predictions are looked up all the same, and a balancer that sent nobody here would turn a pause in
the trainings into annotators without boxes.
"""

from __future__ import annotations

import time

from flask import Blueprint, Response, current_app, jsonify

from backend.queue.enqueue import Jobs, connect
from backend.settings import Settings
from backend.web.watch.source import Source

SECONDS = 0.5  # that all of it may take, whatever hangs

REMEMBERED = "away: what was read before is answered"
UNREADABLE = "cannot be read: `mgral doctor` says why"
AWAY = "away: what is known is answered, and nothing begins"
NONE = "none takes trainings: start `mgral work`"

ready = Blueprint("ready", __name__)


class Readiness:
    """What one process knows of what it depends on."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        jobs = Jobs(settings, connect(settings, SECONDS))
        self.files = Source("ready: MODEL_DIR", settings.artefacts.names)
        self.workers = Source("ready: Redis", lambda: jobs.workers()[jobs.slow.name])

    def look(self) -> tuple[bool, dict[str, str]]:
        """(whether it is ready, what there is to say of each thing)."""
        until = time.monotonic() + SECONDS
        of_files, of_redis = self.files.begin(), self.workers.begin()
        read, count = self.files.fresh(of_files, until), self.workers.fresh(of_redis, until)
        remembered = self.settings.artefacts.copied and self.files.last is not None
        return read is not None or remembered, {
            "model_dir": "ok" if read is not None else REMEMBERED if remembered else UNREADABLE,
            "redis": "ok" if count is not None else AWAY,
            "worker": "not known" if count is None else "ok" if count else NONE,
        }


@ready.get("/ready")
def answer() -> tuple[Response, int]:
    """200 where it is ready, else 503."""
    is_ready, checks = current_app.extensions["readiness"].look()
    return jsonify(ready=is_ready, **checks), 200 if is_ready else 503

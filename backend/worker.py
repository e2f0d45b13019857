"""`mgral work`: an RQ worker that has the heavy imports done before it forks, and wakes the reconciling."""

from __future__ import annotations

import logging

from rq import Worker

from backend.queue import Jobs
from backend.settings import Settings

log = logging.getLogger(__name__)


def run(settings: Settings, *, burst: bool = False) -> None:
    """Work until told to stop (the running job is finished first), or with `burst` until the queue is empty."""
    import model.yolo  # noqa: F401  imported here once, so that each job's fork has torch at once

    jobs = Jobs(settings)
    jobs.connection.ping()
    settings.model_dir.mkdir(parents=True, exist_ok=True)
    if not burst:
        jobs.schedule_reconcile(settings.reconcile_seconds)
    log.info("working on queue %r for %s", settings.queue_name, settings.label_studio_url)
    Worker([jobs.queue], connection=jobs.connection).work(
        burst=burst, with_scheduler=not burst, logging_level=settings.log_level
    )

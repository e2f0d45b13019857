"""How a job runs: alone on its project, telling how far it is, and failing with one line for people."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from rq import get_current_job

from backend.label_studio.client import StudioAway, StudioError
from backend.label_studio.labels import LabelConfigError
from backend.project.work import ProjectWork
from backend.queue.enqueue import Jobs
from backend.queue.progress import Progress
from backend.queue.repeat import every
from backend.settings import get_settings

log = logging.getLogger(__name__)

STAGES: dict[str, dict[str, float]] = {
    "train": {
        "fetch": 3,
        "train": 32,
        "evaluate": 2,
        "evaluate the serving model": 1,
        "scan": 8,
        "hindsight": 8,
        "controls": 8,
        "variants": 26,
        "rank": 8,
        "import": 4,
    },
    "rank": {"fetch": 5, "scan": 70, "rank": 5, "import": 20},
    "predict": {"fetch": 5, "scan": 70, "rank": 5, "import": 20},
}
RENEW_SECONDS = 8  # of the project's lock


class JobError(RuntimeError):
    """A job that cannot succeed as things stand; one line for people."""


@contextmanager
def running(kind: str, project: int) -> Iterator[ProjectWork]:
    """Alone on its project, with progress; a transient fault is tried again, any other fails with one line."""
    settings = get_settings()
    jobs = Jobs(settings)
    job = get_current_job()
    progress = Progress(job, STAGES[kind])
    try:
        with _alone(jobs, project, progress):
            yield ProjectWork(project, settings, jobs, progress)
            progress.finish()
    except (StudioAway, redis.ConnectionError) as error:
        left = job.retries_left if job is not None else 0
        progress.fail(f"{error}" + (f" (trying again, {left} tries left)" if left else ""))
        raise
    except (JobError, StudioError, LabelConfigError, ValueError, ArithmeticError, OSError) as error:
        if job is not None:
            job.retries_left = 0  # it would fail the same way
        progress.fail(str(error))
        raise JobError(str(error)) from error
    except Exception as error:
        if job is not None:
            job.retries_left = 0
        progress.fail(f"unexpected {type(error).__name__}: {error}; the worker's log has the traceback")
        raise


@contextmanager
def _alone(jobs: Jobs, project: int, progress: Progress) -> Iterator[None]:
    """Hold the project's lock, renewed by a thread, so that a dead worker frees it within half a minute."""
    lock = jobs.exclusive(project)
    if not lock.acquire(blocking=False):
        progress.say(f"waiting for another job of project {project}")
        lock.acquire()

    def renew() -> None:
        try:
            lock.reacquire()
        except redis.RedisError as error:
            log.warning("the lock of project %d was not renewed: %s", project, error)

    try:
        with every(RENEW_SECONDS, renew):
            yield
    finally:
        try:
            lock.release()
        except redis.RedisError as error:
            log.warning("the lock of project %d was lost: %s", project, error)

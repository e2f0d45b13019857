"""How a job runs: it tells how far it is, is tried again after faults that pass, and fails with one line for people."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from rq import Retry, get_current_job
from rq.job import Job

from backend import counters
from backend.label_studio.client import StudioAway, StudioError
from backend.label_studio.labels import LabelConfigError
from backend.project.work import ProjectWork
from backend.queue.enqueue import Jobs
from backend.queue.figures import Figures
from backend.queue.graph import MAY_FAIL, CycleCancelledError, Graph
from backend.queue.job import check_names
from backend.queue.progress import UNABLE, HandedBackError, LostError, Progress
from backend.settings import get_settings
from model import disk
from model.artefacts import ArtefactsAway
from model.progress import Cancelled
from model.versions import VersionError

log = logging.getLogger(__name__)

P = ParamSpec("P")
Part = Callable[Concatenate[ProjectWork, P], dict]
Function = Callable[Concatenate[int, P], dict | Retry]

STAGES: dict[str, dict[str, float]] = {
    "train": {"fetch": 3, "train": 32, "evaluate": 2, "evaluate the serving model": 2},
    "hindsight": {"hindsight": 1},
    "survey": {"fetch": 1},
    "scan": {"scan": 1},
    "plan": {"hindsight": 1},
    "variant": {"variant": 1},
    "rank": {"rank": 1},
    "publish": {"import": 1},
    "cross_fit": {"cross-fit": 9, "look at what was held out": 1},
    "clean_up": {"clean up": 1},
    "predict": {"fetch": 5, "scan": 70, "rank": 5, "import": 20},
}
PAUSES = [10, 30, 120, 600, 1800, 3600, 7200, *[14400] * 18]
"""Seconds before each new try after a fault that passes by itself: three days in all. An upgrade of Label Studio, or a
night without anybody who restarts it, loses no job."""
FOREVER = 10**6  # tries; RQ counts those of a job that was handed back too
PERMANENT = (StudioError, LabelConfigError, VersionError, ValueError, ArithmeticError, OSError)


class JobError(RuntimeError):
    """A job that cannot succeed as things stand; one line for people."""


class NotYetError(RuntimeError):
    """What a job waits for goes on elsewhere; to look again within `seconds` is of no use."""

    def __init__(self, line: str, seconds: float) -> None:
        super().__init__(line)
        self.seconds = round(seconds)


TRANSIENT = (NotYetError, StudioAway, ArtefactsAway, *UNABLE)


def runs(part: str) -> Callable[[Part[P]], Function[P]]:
    """Make an RQ job of a function that does one part of a project's work.

    The job is called with the project's number in the place of the ProjectWork. A fault that passes by itself, and a
    worker that is told to stop, give a `Retry`, which RQ takes as the wish to be called again.
    """

    def decorate(
        do: Part[P],
    ) -> Function[P]:
        @wraps(do)
        def job(project: int, /, *args: P.args, **kwargs: P.kwargs) -> dict | Retry:
            current = get_current_job()
            head = current.meta.get("head", current.id) if current is not None else None
            check_names(project, (*args, *kwargs.values()), head)
            settings = get_settings()
            jobs = Jobs(settings)
            work = ProjectWork(project, settings, jobs, Progress(current, STAGES[part]))
            return _run(part, work, current, lambda: do(work, *args, **kwargs))

        return job

    return decorate


def _run(part: str, work: ProjectWork, job: Job | None, do: Callable[[], dict]) -> dict | Retry:
    progress = work.progress
    try:
        if job is not None:
            Graph.of(job).check()
        with disk.told(work.places):
            result = do()
        if part == "publish":
            work.end_cycle()
        progress.finish()
    except HandedBackError as error:
        progress.say(f"{part}: handed back, because {error}; it goes on with what it reached")
        return Retry(max=FOREVER, interval=0, enqueue_at_front=True)
    except LostError as error:
        log.warning("%s", error)
        os._exit(os.EX_OK)  # whatever RQ would note now belongs to another worker's try
    except TRANSIENT as error:
        return _again(part, work, job, error)
    except (CycleCancelledError, Cancelled) as error:
        return _failed(part, work, job, str(error), error)
    except (JobError, *PERMANENT) as error:
        return _failed(part, work, job, str(error), error)
    except Exception as error:
        line = f"unexpected {type(error).__name__}: {error}; the worker's log has the traceback"
        log.exception("%s of project %d", part, work.project)
        return _failed(part, work, job, line, error)
    finally:
        Figures(work.jobs.connection, work.settings.queue_name).images(counters.take_images())
    return result


def _again(part: str, work: ProjectWork, job: Job | None, error: Exception) -> Retry:
    """The wish to be called again after a pause that grows; after three days the job fails."""
    tries = 1 if job is None else job.meta.get("tries", 0) + 1
    if job is None or tries > len(PAUSES):
        _failed(part, work, job, f"{error} (given up after {tries} tries)", error)
    assert job is not None
    pause = max(PAUSES[tries - 1], error.seconds if isinstance(error, NotYetError) else 0)
    job.meta |= {"tries": tries, "pause": pause}
    work.progress.fail(f"{error} (trying again in {_time(pause)}, {len(PAUSES) - tries} tries left)")
    return Retry(max=FOREVER, interval=pause)


def _failed(part: str, work: ProjectWork, job: Job | None, line: str, error: Exception) -> Any:
    if job is not None:
        job.retries_left = 0  # it would fail the same way
    work.progress.fail(line)
    if part not in MAY_FAIL and part != "predict":
        work.end_cycle()
    raise JobError(line) from error


def _time(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"

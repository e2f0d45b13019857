"""The job "variant": one training of the inner loop, on whichever worker is idle."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from agent.inner_loop.plan import has_result, run_variant
from backend.jobs.fanout import run_claimed
from backend.queue.enqueue import Jobs
from backend.settings import get_settings


def variant(project: int, folder: str, index: int) -> str:  # noqa: ARG001  the project is for people
    """Train one variant of a project's cycle, unless it is done or the cycle is over."""
    path = Path(folder)
    return run_claimed(Jobs(get_settings()), path, index, run_variant, partial(has_result, path))

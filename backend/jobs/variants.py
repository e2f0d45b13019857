"""The job "variant": one training of the inner loop, on whichever worker is idle."""

from __future__ import annotations

from functools import partial

from agent.inner_loop.plan import has_result, run_variant
from backend.jobs.running import runs
from backend.project.work import ProjectWork


@runs("variant")
def variant(work: ProjectWork, cycle: str, index: int) -> dict:
    """Train one variant of a cycle, unless its result is there. The order does without one that fails."""
    folder = work.folder(cycle)
    local = folder.pull()
    work.progress("variant", 0, 1)
    if not has_result(local, index):
        run_variant(local, index, partial(work.progress, "variant"))
        folder.push("results")
    return {}

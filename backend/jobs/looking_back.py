"""The job "hindsight": where hindsight starts. It needs the labels only, so it runs beside the training."""

from __future__ import annotations

from agent.learning import trained_on
from backend.jobs.running import runs
from backend.project.serving import detector_of, untrained_of
from backend.project.work import ProjectWork


@runs("hindsight")
def hindsight(work: ProjectWork, cycle: str, served: str) -> dict:
    """Train the start, unless the version that `served` when the cycle began is one. Without it the job "plan" does."""
    folder = work.folder(cycle)
    dataset, serving = folder.dataset(), work.store.get(served)
    earlier = trained_on(work.store, serving, detector_of(serving))
    untrained = untrained_of(work.store, work.settings, work.config)
    work.progress("hindsight", 0, 1)
    try:
        work.cycle([]).look_back(folder.start.pull(), dataset, earlier, untrained)
    finally:  # a checkpoint too, for whoever goes on
        folder.start.push()
    return {}

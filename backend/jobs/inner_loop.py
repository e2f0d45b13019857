"""The inner loop of a training's cycle: its variants planned and trained, and the gains that they measured kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.gain.rows import Rows
from agent.inner_loop.plan import Plan, run_variant
from agent.learning import Learned
from agent.pool.pool import Pool
from backend.jobs.fanout import fan_out
from backend.label_studio.client import Task
from backend.project.serving import detector_of
from backend.project.work import ProjectWork
from model.data.dataset import Dataset
from model.versions import Version


@dataclass(frozen=True)
class Trained:
    """What a training hands on to the ranking: what was learned from which images, and where the cycle's files are."""

    learned: Learned
    dataset: Dataset
    folder: Path


def inner_loop(work: ProjectWork, trained: Trained, tasks: list[Task], pool: Pool, serving: Version) -> Plan:
    """Train the variants of a cycle, here and on idle workers; what fails is left out."""
    untrained = detector_of(work.store.list()[0])
    cycle = work.cycle(tasks)
    plan = cycle.plan(trained.folder, trained.dataset, pool, detector_of(serving), trained.learned, untrained)
    work.progress.say(f"{len(plan.variants)} variants to train for the order")
    for stage, controls in (("controls", True), ("variants", False)):
        pending = plan.pending(controls=controls)
        fan_out(work.jobs, work.project, trained.folder, pending, run_variant, plan.done, work.progress, stage)
    return plan


def earlier_gains(work: ProjectWork) -> Rows:
    """What earlier cycles measured; nothing where there is none, or it cannot be read."""
    try:
        return Rows.load(_gains_file(work))
    except FileNotFoundError:
        return Rows()
    except ValueError as error:
        work.progress.say(f"{error}")
        return Rows()


def keep_gains(work: ProjectWork, earlier: Rows, plan: Plan) -> Rows:
    """Put what a cycle measured beside what earlier ones did; stored, and returned."""
    rows = earlier.renewed(plan.cycle, plan.rows())
    rows.save(_gains_file(work))
    return rows


def _gains_file(work: ProjectWork) -> Path:
    """Measured gains of this and earlier cycles."""
    return work.published.directory / "gain_rows.npz"

"""A whole cycle of the agent on two workers, one of which is killed: the ranking is the one it would have been."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from rq import Worker
from rq.job import JobStatus

from agent.cycle import CycleConfig, rank
from agent.gain.rows import Rows
from agent.inner_loop.plan import Plan
from agent.pool.store import PoolStore
from agent.strategies.mgral import BASELINES
from backend.commands.local import LocalStack
from backend.project.serving import detector_of, store_of
from model.progress import silent
from tests.e2e.conftest import TRAINING, Project, until

AGENT = TRAINING | {
    "STRATEGY": "mgral",
    "MGRAL_HINDSIGHT": "3",
    "MGRAL_SURROGATES": "0",
    "MGRAL_STEPS": "5",
    "BUDGET": "5",
    "MGRAL_TIME_BUDGET": "1000",
    "START_TRAINING_EACH_N_UPDATES": "0",
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="module")
def workers(stack: LocalStack) -> Iterator[tuple[str, str]]:
    """Two workers in the place of the usual one. The last test kills one of them."""
    stack.stop("work")
    names = ("one", "two")
    for name in names:
        stack.start_worker(name, **AGENT)
    yield names
    for name in names:
        if name in stack.processes:
            stack.stop(name)
    stack.start_worker(**TRAINING)


def at_its_variants(make_project: Callable[..., Project], title: str) -> tuple[Project, Path]:
    """A project whose training has come to its variants, and the folder of its cycle."""
    project = make_project(title, images=40)
    project.train_until("variants", labels=30, seconds=120)
    return project, project.settings.model_dir / str(project.id) / "cycle"


def test_cancelling_in_the_middle_leaves_the_old_model_and_order(
    make_project: Callable[..., Project], stack: LocalStack, workers: tuple[str, str]
) -> None:
    project, _ = at_its_variants(make_project, "cancelled in the middle")
    assert len(workers) == 2
    listed = subprocess.run(
        [sys.executable, "-m", "backend.cli", "jobs", str(project.id), "--json"],
        env=stack.environment(**AGENT),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    kinds = [job["kind"] for job in json.loads(listed.stdout)]
    assert kinds.count("variant") >= 3
    assert "train" in kinds
    before, order = project.live(), project.order()
    (job,) = project.jobs.cancel(project.id)
    until(10, lambda: job.get_status() == JobStatus.STOPPED, "the training to stop")
    until(10, lambda: not any(v.get_status() == "started" for v in project.jobs.variants(project.id)), "the variants")
    assert project.live() == before
    assert project.info()["model_version"] == before.model_version
    assert project.order() == order
    assert project.served(5) == order[30:35]  # the first thirty were labeled before the training


def test_a_worker_killed_in_the_middle_changes_nothing(
    make_project: Callable[..., Project], stack: LocalStack, workers: tuple[str, str], tmp_path: Path
) -> None:
    project, folder = at_its_variants(make_project, "killed in the middle")
    shutil.copytree(folder, tmp_path / "cycle")
    train = project.jobs.last("train", project.id)
    assert train is not None
    pids: dict[str | None, int | None] = {
        worker.name: worker.pid for worker in Worker.all(connection=project.jobs.connection)
    }
    helper = next(name for name in workers if stack.processes[name].pid != pids[train.worker_name])

    def helps() -> bool:
        running = [job for job in project.jobs.variants(project.id) if job.get_status() == JobStatus.STARTED]
        return any(pids.get(job.worker_name) == stack.processes[helper].pid for job in running)

    until(60, helps, "the other worker to take a variant")
    stack.stop(helper, kill=True)
    done = project.wait("train")
    assert done["result"]["strategy"] in (*BASELINES, "mgral")

    plan = Plan.load(tmp_path / "cycle")  # the same variants, trained here without any disturbance
    for controls in (True, False):
        for index in plan.pending(controls=controls):
            plan.run(index, silent)
    kept = Rows.load(folder.parent / "gain_rows.npz")
    assert [row.gain for row in kept] == pytest.approx([row.gain for row in plan.rows()], abs=1e-6)

    store = store_of(project.settings, project.id)
    record = json.loads(store.read(project.live().version, "ranking.json"))
    assert record["variants"] == 4
    detector = detector_of(store.get(project.live().version))
    labeled = {int(task.id) for task in project.studio.annotated(project.id)}
    metrics = store.get(project.live().version).metrics or {"per_class": {}}
    tasks = [int(task.id) for task in project.studio.tasks(project.id)]  # in the worker's order
    seen = PoolStore(folder.parent / "pool")
    pool = seen.pool(
        [k for k in tasks if k not in labeled],
        [k for k in tasks if k in labeled],
        np.array([metrics["per_class"].get(name, -1.0) for name in detector.names]),
        detector.names,
    )
    again = rank(pool, Rows(plan.rows()), plan.cycle, CycleConfig(budget=5), lambda *_, **__: None)
    assert record["order"] == again.order.tolist()
    assert not folder.exists()

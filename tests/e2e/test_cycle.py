"""A whole cycle of the agent on two workers: cancelled in each stage, and with a worker killed in each kind of job."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from rq import Worker
from rq.job import Job
from rq.registry import StartedJobRegistry
from rq.utils import as_text

from agent.costs import LearnedCosts
from agent.cycle import CycleConfig, rank
from agent.gain.rows import Rows
from agent.inner_loop.plan import Plan
from agent.pool.store import PoolStore
from agent.strategies.mgral import BASELINES, MgralConfig
from backend.commands.local import LocalStack, attempts
from backend.project.review.verdicts import verdicts
from backend.project.serving import detector_of, store_of
from backend.queue.graph import Graph
from backend.queue.job import Json, part_of
from model.progress import silent
from tests.e2e.conftest import TRAINING, Project, until

AGENT = TRAINING | {
    "STRATEGY": "mgral",
    "MGRAL_MEASURE": "always",  # with eight images held out it would not pay
    "MGRAL_HINDSIGHT": "3",
    "MGRAL_SURROGATES": "0",
    "MGRAL_STEPS": "5",
    "BUDGET": "3",
    "BUDGET_IN": "minutes",  # images are in test_simulated_labeling
    "MGRAL_TIME_BUDGET": "1000",
    "START_TRAINING_EACH_N_UPDATES": "0",
    "OMP_NUM_THREADS": "1",
    "TRAIN_MIN_STEPS": "20",
}
LABELS = 30
PARTS = ("train", "scan", "plan", "variant", "rank", "publish")


@pytest.fixture(scope="module")
def workers(stack: LocalStack) -> Iterator[list[str]]:
    """Two workers in the place of the usual one; tests kill some and start others."""
    stack.stop("work")
    names = ["one", "two"]
    for name in names:
        stack.start_worker(name, **AGENT)
    yield names
    for name in names:
        if name in stack.processes:
            stack.stop(name)
    stack.start_worker(**TRAINING)


@pytest.fixture(scope="module")
def project(make_project: Callable[..., Project], workers: list[str]) -> Project:
    """Its order begins with LABELS tasks that are labeled."""
    assert len(workers) == 2
    project = make_project("a cycle", images=40)
    project.connect()
    project.wait("rank")
    for task in project.order()[:LABELS]:
        project.annotator.label(task)
    return project


def running(project: Project, part: str) -> Job:
    """The newest training's job that calls `part`, as soon as it runs."""
    for _ in attempts(90, pause=0.02):
        head = project.jobs.last("train", project.id)
        jobs = Graph.of(head).jobs() if head is not None else []
        assert not any(job.get_status(refresh=False) == "failed" for job in jobs)
        for job in jobs:
            if part_of(job) == part and job.get_status(refresh=False) == "started":
                return job
    raise AssertionError(f"no {part} ran within 90 s")


def kill_who_runs(job: Job, project: Project, stack: LocalStack, workers: list[str]) -> list[str]:
    """Kill both processes of the worker that runs a job. The ids of all jobs that they held: this one, unless it ended
    meanwhile, and maybe the one before it, which hands it on before it ends."""
    employed = {worker.name: worker for worker in Worker.all(connection=project.jobs.connection, serializer=Json)}
    groups = {worker.name: os.getpgid(worker.pid or 0) for worker in employed.values() if alive(worker.pid)}
    group = groups[job.worker_name or ""]
    name = next(name for name in workers if stack.processes[name].pid == group)
    stack.stop(name, kill=True)
    workers.remove(name)
    held = [employed[name].get_current_job_id() for name, theirs in groups.items() if theirs == group]
    return [job_id for job_id in held if job_id]


def alive(pid: int | None) -> bool:
    return pid is not None and Path(f"/proc/{pid}").exists()


def test_cancelling_in_each_stage_leaves_the_old_model_and_order(project: Project) -> None:
    before, order = project.live(), project.order()
    for part in (*PARTS, "hindsight"):
        project.start_training()
        running(project, part)
        began = time.monotonic()
        (head,) = project.jobs.cancel(project.id)
        until(
            5 - (time.monotonic() - began),
            lambda head=head: not Graph.of(head).active(),  # type: ignore[misc]
            f"everything to stop while {part} ran",
        )
        assert project.jobs.head(project.id) is None
        assert project.live() == before
    assert project.info()["model_version"] == before.model_version
    assert project.order() == order
    assert project.served(5) == order[LABELS : LABELS + 5]


def test_a_worker_killed_in_each_kind_of_job_changes_nothing(
    project: Project, stack: LocalStack, workers: list[str], tmp_path: Path
) -> None:
    project.start_training()
    killed: list[str] = []
    for number, part in enumerate((*PARTS, "cross_fit")):
        job = running(project, part)
        if part == "variant":
            folder = Path(project.settings.model_dir) / str(project.id) / "cycles" / job.args[1]
            shutil.copytree(folder, tmp_path / "cycle", ignore=shutil.ignore_patterns(".tmp-*", "*.lock"))
        held = kill_who_runs(job, project, stack, workers)
        killed.extend(held)
        for registry in (StartedJobRegistry(queue=queue) for queue in project.jobs.queues):  # as if silent for so long
            for entry in map(as_text, project.jobs.connection.zrange(registry.key, 0, -1)):  # type: ignore[arg-type]
                if entry.rpartition(":")[0] in held:
                    project.jobs.connection.zadd(registry.key, {entry: 1})
        workers.append(f"worker-{number}")
        stack.begin_worker(workers[-1], **AGENT)  # meanwhile the other one may come to the next part
    done = project.wait("train")
    assert done["result"]["strategy"] in (*BASELINES, "mgral")

    head = project.jobs.last("train", project.id)
    assert head is not None
    logs = "".join(log.read_text() for log in stack.directory.glob("*.log"))
    taken = [line for line in logs.splitlines() if "rq.worker" in line and "Job OK" not in line]
    starts = Counter(re.findall(rf"\(({head.id}[\w-]*)\)$", "\n".join(taken), re.MULTILINE))
    assert {job for job, count in starts.items() if count > 1} <= set(killed)
    assert max(starts.values()) == 2

    plan = Plan.load(tmp_path / "cycle")  # the same variants, trained here without any disturbance
    for controls in (True, False):
        for index in plan.pending(controls=controls):
            plan.run(index, silent)
    directory = Path(project.settings.model_dir) / str(project.id)
    kept = Rows.load(directory / "gain_rows.npz")
    measured = [row.gain for row in kept if row.cycle == plan.cycle]
    assert measured == pytest.approx([row.gain for row in plan.rows()], abs=1e-6)
    undisturbed = Rows([row for row in kept if row.cycle != plan.cycle]).renewed(plan.cycle, plan.rows())

    store = store_of(project.settings, project.id)
    record = json.loads(store.read(project.live().version, "ranking.json"))
    assert record["variants"] == 4
    detector = detector_of(store.get(project.live().version))
    labels = {int(task.id) for task in project.studio.annotated(project.id)}
    metrics = store.get(project.live().version).metrics or {"per_class": {}}
    tasks = [int(task.id) for task in project.studio.tasks(project.id)]  # in the worker's order
    until(120, lambda: len(list(directory.glob("pool/*"))) == 1, "what the earlier model saw to be deleted")
    verdict = verdicts(project.settings.artefacts, project.id)[project.live().version]  # the cleaning waited for it
    assert f"each of {len(labels)} labeled images held out once" in verdict.sentence
    seen = PoolStore(next(directory.glob("pool/*/gathered")))
    pool = seen.pool(
        [k for k in tasks if k not in labels],
        [k for k in tasks if k in labels],
        np.array([metrics["per_class"].get(name, -1.0) for name in detector.names]),
        detector.names,
    )
    costs = LearnedCosts.of_json(record["costs"])
    assert costs.learned
    assert costs.image == pytest.approx(6, rel=0.02)  # what the annotator takes
    assert costs.drawn == pytest.approx(7, rel=0.02)
    config = CycleConfig(budget=3, agent=MgralConfig(costs=costs.costs))
    again = rank(pool, undisturbed, plan.cycle, config, lambda *_, **__: None)
    assert "minutes of 3 average images" in again.details["why"]
    assert record["order"] == again.order.tolist()
    until(30, lambda: not list(directory.glob("cycles/*")), "the folder of the cycle to be deleted")

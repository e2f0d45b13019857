"""A training whose worker is stopped or killed, and one during which Redis loses everything: nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from backend.commands.local import LocalStack
from backend.queue.progress import describe
from tests.e2e.conftest import TRAINING, Project, until

SLOW = TRAINING | {"TRAIN_MIN_STEPS": "300", "RECONCILE_SECONDS": "5", "START_TRAINING_EACH_N_UPDATES": "0"}
STEP = 20  # the step of a training from which it is disturbed


@pytest.fixture
def slow_worker(stack: LocalStack) -> Iterator[str]:
    """A worker whose trainings last long enough to be disturbed, in the place of the usual one."""
    stack.stop("work")
    stack.start_worker("slow", **SLOW)
    yield "slow"
    if "slow" in stack.processes:
        stack.stop("slow")
    stack.start_worker(**TRAINING)


def steps(project: Project) -> int:
    """How many steps of the newest training are done."""
    job = project.jobs.last("train", project.id)
    seen = describe(job) if job is not None else {"stage": ""}
    return int(seen["done"]) if seen["stage"] == "train" else 0


@pytest.mark.timeout(600)
def test_a_training_outlives_its_worker_and_redis_and_keeps_nobody_waiting(
    make_project: Callable[..., Project], stack: LocalStack, slow_worker: str
) -> None:
    project = make_project("disturbed", images=12)
    project.train_until("train", labels=8, seconds=60)
    live = project.live()

    # a late task is predicted beside the training
    before = set(project.annotator.by_task)
    project.annotator.upload(project.id, project.annotator.truth.images[12:14])
    late = set(project.annotator.by_task) - before
    assert len(late) == 2
    until(60, lambda: late <= {p["task"] for p in project.predictions()}, "the late tasks' boxes")
    until(60, lambda: steps(project) >= STEP, "the training to do some steps")
    assert project.live() == live

    # a worker that is told to stop hands the training back, and the next one goes on where it was
    job = project.jobs.last("train", project.id)
    assert job is not None
    stack.stop(slow_worker)  # politely, and with SIGKILL after some seconds if that does not help
    until(5, lambda: describe(job)["status"] == "queued", "the training to wait again")
    assert any("handed back" in line for line in describe(job)["log"])
    assert project.info()["model_version"] == live.model_version
    first = int(project.annotator.next_task(project.id)["id"])  # the first eight were labeled before the training
    assert first in {project.order()[8], *late}
    stack.start_worker(slow_worker, **SLOW)
    until(60, lambda: steps(project) > 0, "the training to go on")
    assert steps(project) >= STEP

    # a Redis that loses everything costs neither the worker nor the training
    stack.stop("redis", kill=True)
    stack.start_redis()
    assert project.jobs.last("train", project.id) is None
    until(60, lambda: steps(project) > 0, "the training to be asked for again, and to go on")
    assert steps(project) >= STEP
    assert stack.processes[slow_worker].poll() is None
    assert project.wait("train")["result"]["version"].startswith("v0002")

"""A training that is cancelled, and one whose worker is killed: what was live stays live."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from rq.job import JobStatus

from backend.commands.local import LocalStack
from tests.e2e.conftest import TRAINING, Project, until


@pytest.fixture(scope="module")
def slow_worker(stack: LocalStack) -> Iterator[str]:
    """A worker whose trainings last long enough to be interrupted, in the place of the usual one."""
    stack.stop("work")
    stack.start_worker("slow", **TRAINING | {"TRAIN_MIN_STEPS": "2000"})
    yield "slow"
    if "slow" in stack.processes:
        stack.stop("slow")
    if "work" not in stack.processes:
        stack.start_worker(**TRAINING)


def in_training(make_project: Callable[..., Project], title: str) -> Project:
    """A project whose training has just begun its steps."""
    project = make_project(title, images=12)
    project.train_until("train", labels=8, seconds=60)
    return project


def serves_as_before(project: Project) -> None:
    live = project.live()
    assert live.version.startswith("v0001")
    assert project.info()["model_version"] == live.model_version
    assert project.served(2) == project.order()[8:10]  # the first eight were labeled before the training


@pytest.mark.usefixtures("slow_worker")
def test_cancelling_stops_a_running_training_within_seconds(make_project: Callable[..., Project]) -> None:
    project = in_training(make_project, "cancelled")
    (job,) = project.jobs.cancel(project.id)
    until(15, lambda: job.get_status() == JobStatus.STOPPED, "the job to stop")
    serves_as_before(project)
    project.jobs.enqueue("rank", project.id)  # its lock is free again within a minute
    assert project.wait("rank")["result"]["predicted"] == 12


def test_a_killed_worker_costs_only_its_own_job(
    make_project: Callable[..., Project], stack: LocalStack, slow_worker: str
) -> None:
    project = in_training(make_project, "killed")
    stack.stop(slow_worker, kill=True)
    serves_as_before(project)
    stack.start_worker(**TRAINING)
    other = make_project("after the kill", images=2)
    other.connect()
    assert other.wait("rank")["result"]["predicted"] == 2

"""The fault table on real processes, each fault three times: `make chaos`. docs/FAULTS.md says what was seen.

Three workers and two backends share one project. Each fault comes while a training runs; when it is over, the training
has ended well, and what annotators made and are shown is all there. Damaged files and full disks, which need no Label
Studio, are in tests/backend.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from rq import Worker

from backend.commands.local import LocalStack, attempts, free_port
from backend.project.serving import published_of, store_of
from backend.project.shown import compare
from backend.queue.graph import Graph
from backend.queue.job import part_of
from backend.queue.progress import describe
from tests.e2e.conftest import TRAINING, Project, until
from tests.faults import BUSY, HTML, Answer, Close, Fault, FaultyProxy

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1200)]

WORKERS = ("one", "two", "three")
SETTINGS = TRAINING | {
    "TRAIN_MIN_STEPS": "60",
    "RECONCILE_SECONDS": "5",
    "START_TRAINING_EACH_N_UPDATES": "0",
    "KEEP_VERSIONS": "100",
    "KEEP_PREDICTIONS": "100",
    "OMP_NUM_THREADS": "1",
}
PATIENCE = 600.0


@dataclass
class World:
    """An installation that faults come over."""

    stack: LocalStack
    project: Project
    proxy: FaultyProxy
    second: str

    def counts(self) -> dict[str, int]:
        """What must not become fewer."""
        store = store_of(self.project.settings, self.project.id)
        return {
            "annotations": self.project.info()["total_annotations_number"],
            "versions": len(store.list()),
            "predictions": sum(self.project.studio.model_versions(self.project.id).values()),
        }

    def train(self) -> None:
        """Begin a training that has something new to learn, and wait until it does."""
        self.project.annotator.label_next(self.project.id)
        self.project.jobs.enqueue("train", self.project.id)
        self.running("train")

    def running(self, part: str) -> str:
        """The name of the worker that runs a job of the newest training, as soon as one does."""
        for _ in attempts(PATIENCE, pause=0.02):
            head = self.project.jobs.last("train", self.project.id)
            for job in Graph.of(head).jobs() if head is not None else ():
                started = job.get_status(refresh=False) == "started" and job.worker_name
                if part_of(job) == part and started and (part != "train" or describe(job)["stage"] == "train"):
                    return job.worker_name or ""
        raise AssertionError(f"no {part} ran within {PATIENCE:.0f} s")

    def ended(self) -> bool:
        """Whether the newest training has ended, well."""
        with suppress(redis.ConnectionError, redis.TimeoutError):
            job = self.project.jobs.last("train", self.project.id)
            if job is None:  # Redis lost its data, and reconciling has not come yet
                return False
            seen = describe(job)
            assert seen["status"] not in {"failed", "stopped", "canceled"}, seen
            return seen["status"] == "finished"
        return False

    def survives(self, before: dict[str, int], trainings: int = 1) -> None:
        """The training ends well, nothing is lost, and both backends answer as Label Studio shows it."""
        until(PATIENCE, self.ended, "the training to end")
        project = self.project
        after = self.counts()
        assert after["annotations"] == before["annotations"] + 1
        assert before["versions"] + 1 <= after["versions"] <= before["versions"] + trainings
        assert after["predictions"] >= before["predictions"]
        published = published_of(project.settings, project.id)
        until(60, lambda: compare(project.studio, project.id, published) is None, "Label Studio to show what is live")
        stored = project.studio.model_versions(project.id)[project.live().model_version]
        assert stored == project.info()["task_number"]
        auth = (SETTINGS["BASIC_AUTH_USER"], SETTINGS["BASIC_AUTH_PASS"])
        for url in (self.stack.backend_url, self.second):
            answer = requests.get(f"{url}/versions", auth=auth, timeout=10)
            assert project.live().model_version in answer.json()["versions"]

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process and to all that it has started."""
        os.killpg(self.stack.processes[name].pid, number)

    def process_of(self, worker: str) -> str:
        """The name in the stack of the process that an RQ worker lives in."""
        pids = {found.name: found.pid for found in Worker.all(connection=self.project.jobs.connection)}
        group = os.getpgid(pids[worker] or 0)
        return next(name for name, process in self.stack.processes.items() if process.pid == group)


@pytest.fixture(scope="module")
def world(stack: LocalStack, make_project: Callable[..., Project]) -> Iterator[World]:
    stack.stop("work")
    with FaultyProxy(stack.label_studio_url) as proxy:
        through = {"LABEL_STUDIO_URL": proxy.url, "LABEL_STUDIO_PUBLIC_URL": stack.label_studio_url}
        for name in WORKERS:
            stack.start_worker(name, **SETTINGS | through)
        port = str(free_port())
        stack._spawn("second", [sys.executable, "-m", "backend.cli", "serve"], stack.environment(**SETTINGS, PORT=port))
        project = make_project("chaos", images=40)
        project.connect()
        project.wait("rank")
        for task in project.order()[:12]:
            project.annotator.label(task)
        made = World(stack, project, proxy, f"http://127.0.0.1:{port}")
        until(60, lambda: _answers(made.second), "the second backend to answer")
        yield made
        for name in [name for name in (*WORKERS, "second") if name in stack.processes]:
            stack.stop(name)
        stack.start_worker(**TRAINING)


@pytest.fixture(params=["first", "second", "third"], autouse=True)
def turn(request: pytest.FixtureRequest) -> str:
    """Each fault comes three times."""
    return str(request.param)


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False


# -- Redis ------------------------------------------------------------------------------------------------------------


def _without_data(world: World) -> None:
    world.stack.stop("redis", kill=True)
    time.sleep(3)
    world.stack.start_redis()


def _with_data(world: World) -> None:
    with suppress(redis.ConnectionError):
        world.project.jobs.connection.shutdown(save=True)
    world.stack.processes.pop("redis").wait(10)
    time.sleep(3)
    world.stack.start_redis()
    (world.stack.directory / "dump.rdb").unlink()  # it is read; the next restart may be without data


def _frozen(world: World) -> None:
    world.signal("redis", signal.SIGSTOP)
    began = time.monotonic()
    for url in (world.stack.backend_url, world.second):
        assert _answers(url)
    assert time.monotonic() - began < 2
    time.sleep(15)
    world.signal("redis", signal.SIGCONT)


@pytest.mark.parametrize("fault", [_without_data, _with_data, _frozen])
def test_redis(world: World, fault: Callable[[World], None]) -> None:
    before = world.counts()
    world.train()
    fault(world)
    world.survives(before)


# -- Label Studio -----------------------------------------------------------------------------------------------------


def _away(world: World) -> None:
    world.stack.stop("label-studio")
    time.sleep(10)
    world.stack.start_label_studio()
    world.stack.wait_for_label_studio()


FAULTS: dict[str, Fault] = {
    "429": BUSY,
    "500": Answer(500),
    "503": Answer(503),
    "504, done all the same": Answer(504, late=True),
    "HTML": HTML,
    "closed": Close(),
}


@pytest.mark.parametrize("fault", list(FAULTS))
def test_label_studio_that_fails(world: World, fault: str) -> None:
    before = world.counts()
    world.train()
    for method in ("GET", "POST", "PATCH"):  # once each: the pauses of one job add up, 10 s, 30 s, 2 min, 10 min
        world.proxy.next(1, method, "/api/", FAULTS[fault])
    try:
        world.survives(before)
    finally:
        world.proxy.clear()


def _stopped(world: World) -> None:
    world.signal("label-studio", signal.SIGSTOP)
    assert _answers(world.stack.backend_url)
    time.sleep(20)
    world.signal("label-studio", signal.SIGCONT)


@pytest.mark.parametrize("fault", [_away, _stopped])
def test_label_studio_that_does_not_answer(world: World, fault: Callable[[World], None]) -> None:
    before = world.counts()
    world.train()
    fault(world)
    world.survives(before)


# -- workers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("part", ["train", "survey", "scan", "rank", "publish", "cross_fit", "clean_up"])
def test_a_worker_that_ends(world: World, part: str, number: signal.Signals) -> None:
    before = world.counts()
    world.train()
    if part == "scan":  # there is something to look at
        shutil.rmtree(Path(world.project.settings.model_dir) / str(world.project.id) / "pool", ignore_errors=True)
    name = world.process_of(world.running(part))
    with suppress(ProcessLookupError):
        world.signal(name, number)
    world.stack.processes.pop(name).wait(60)
    through = {"LABEL_STUDIO_URL": world.proxy.url, "LABEL_STUDIO_PUBLIC_URL": world.stack.label_studio_url}
    world.stack.start_worker(name, **SETTINGS | through)
    world.survives(before)


# -- everybody at once ------------------------------------------------------------------------------------------------


def test_two_backends_and_three_workers_on_one_project(world: World) -> None:
    before = world.counts()
    world.train()
    auth = (SETTINGS["BASIC_AUTH_USER"], SETTINGS["BASIC_AUTH_PASS"])
    tasks: list[dict[str, Any]] = [
        {"id": task.id, "data": task.data, "project": world.project.id}
        for task in world.project.studio.tasks(world.project.id)
    ]
    body = {"project": f"{world.project.id}.1", "label_config": world.project.info()["label_config"], "params": {}}
    for task in tasks[:10]:
        for url in (world.stack.backend_url, world.second):
            answer = requests.post(f"{url}/predict", json=body | {"tasks": [task]}, auth=auth, timeout=60)
            assert answer.status_code == 200
            assert len(answer.json()["results"]) == 1
            event = {"action": "START_TRAINING", "project": {"id": world.project.id}}
            assert requests.post(f"{url}/webhook", json=event, auth=auth, timeout=5).status_code == 201
    world.survives(before, trainings=2)  # one follows, however often it is asked for

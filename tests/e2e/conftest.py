"""One real installation for all end-to-end tests: Label Studio, Redis, backend, worker; a project for each test."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from backend.commands.annotator import Annotator
from backend.commands.local import LocalStack, StartError, attempts, find_label_studio
from backend.label_studio.client import Studio
from backend.project.connect import connect
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from backend.queue.enqueue import Jobs
from backend.queue.progress import describe
from backend.settings import Settings
from model.data.dataset import Dataset
from model.synthetic.scenes import write_scenes
from tests.e2e.chromium import launched

AUTO_RETRAIN = 36  # annotations; only the test of it submits so many
TRAINING = {
    "IMAGE_SIZE": "128",
    "TRAIN_EPOCHS": "1",
    "TRAIN_MIN_STEPS": "6",
    "WEIGHTS": "starter",
    "BUDGET": "10",
    "RECONCILE_SECONDS": "30",
    "STRATEGY": "two_stage",  # the agent's own cycle is in test_cycle and test_simulated_labeling
    "START_TRAINING_EACH_N_UPDATES": str(AUTO_RETRAIN),
    "IMAGE_NETWORKS": "127.0.0.1",  # a bucket of the tests' own
    "BASIC_AUTH_USER": "studio",
    "BASIC_AUTH_PASS": "s3cret",
}

SHAPES = """<View><Image name="image" value="$image"/>
<RectangleLabels name="label" toName="image" model_score_threshold="0.15">
<Label value="round sign" predicted_values="disc, ring"/><Label value="three corners" predicted_values="triangle"/>
<Label value="four corners" predicted_values="square"/><Label value="many corners" predicted_values="octagon, hexagon"/>
</RectangleLabels></View>"""  # the starter's shapes, so that an untrained project has boxes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    try:
        find_label_studio()
    except StartError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    directory = Path(tempfile.mkdtemp(prefix="mgral-e2e-", dir="/tmp"))  # a Unix socket's path must be short
    try:
        with LocalStack(directory) as stack:
            stack.start_redis()
            stack.start_label_studio()
            stack.start_backend(**TRAINING)
            stack.start_worker(**TRAINING)
            stack.wait_for_label_studio()
            yield stack
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def settings(stack: LocalStack) -> Settings:
    return stack.settings(**TRAINING)


@pytest.fixture(scope="session")
def studio(settings: Settings) -> Studio:
    return Studio.from_settings(settings)


@pytest.fixture(scope="session")
def scenes(stack: LocalStack) -> Dataset:
    return write_scenes(stack.directory / "scenes", 40, seed=5)


@dataclass
class Project:
    """A project under test and the hands that work on it."""

    id: int
    annotator: Annotator
    studio: Studio
    settings: Settings
    jobs: Jobs
    backend_url: str

    def connect(self) -> list[str]:
        return connect(self.studio, self.settings, self.id, self.backend_url, self.jobs)

    def wait(self, kind: str) -> dict[str, Any]:
        """Until the newest job of a kind has ended well."""
        for _ in attempts(300):
            job = self.jobs.last(kind, self.id)
            if job is not None:
                seen = describe(job)
                assert seen["status"] not in {"failed", "stopped", "canceled"}, seen
                if seen["status"] == "finished":
                    return {"result": job.return_value()} | seen  # a cycle tells it itself
        raise AssertionError(f"no {kind} job of project {self.id} finished")

    def start_training(self) -> None:
        """Press the button."""
        (backend,) = self.studio.call("GET", "/api/ml", params={"project": self.id})
        self.studio.call("POST", f"/api/ml/{backend['id']}/train", json={})

    def train_until(self, stage: str, labels: int, seconds: float) -> None:
        """Connect, label what the order begins with, press the button, and wait for a stage of the training."""
        self.connect()
        self.wait("rank")
        for task in self.order()[:labels]:
            self.annotator.label(task)
        self.start_training()
        job = self.jobs.last("train", self.id)
        assert job is not None
        until(seconds, lambda: describe(job)["stage"] == stage, f"the training to come to {stage!r}")

    def retrieve(self) -> None:
        """Data Manager: select all tasks, "Retrieve predictions"."""
        body = {"selectedItems": {"all": True, "excluded": []}, "filters": {"conjunction": "and", "items": []}}
        params = {"id": "retrieve_tasks_predictions", "project": self.id}
        self.studio.call("POST", "/api/dm/actions", params=params, json=body)

    def live(self) -> Publication:
        current = published_of(self.settings, self.id).current()
        assert current is not None
        return current

    def order(self) -> list[int]:
        record = json.loads(store_of(self.settings, self.id).read(self.live().version, "ranking.json"))
        assert record["model_version"] == self.live().model_version
        return record["order"]

    def served(self, count: int) -> list[int]:
        """The tasks that "Label All Tasks" serves one after the other; each is labeled, so that the next one comes."""
        return [self.annotator.label_next(self.id) for _ in range(count)]

    def predictions(self) -> list[dict]:
        return self.studio.call("GET", "/api/predictions", params={"project": self.id})

    def info(self) -> dict[str, Any]:
        return self.studio.project(self.id)


@pytest.fixture(scope="session")
def make_project(stack: LocalStack, settings: Settings, studio: Studio, scenes: Dataset) -> Callable[..., Project]:
    def make(title: str, images: int = 16, config: str | None = None) -> Project:
        annotator = Annotator(studio, scenes)
        number = annotator.create_project(title, config)
        annotator.upload(number, scenes.images[:images])
        return Project(number, annotator, studio, settings, Jobs(settings), stack.backend_url)

    return make


def until(seconds: float, ready: Callable[[], bool], what: str) -> None:
    for _ in attempts(seconds):
        if ready():
            return
    raise AssertionError(f"not within {seconds} s: {what}")

"""The same subclass, hosted by label-studio-ml 1.0.9's own server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from label_studio_ml.api import init_app

from backend.commands.annotator import label_config
from backend.commands.local import LocalStack
from backend.plugin import MgralBackend
from backend.settings import get_settings
from tests.e2e.conftest import TRAINING, Project, until


@pytest.fixture
def _environment(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in stack.environment(**TRAINING).items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.usefixtures("_environment")
def test_predict_and_start_training(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project("own server", images=6)
    project.connect()
    project.wait("rank")
    for task in list(project.annotator.by_task)[:3]:
        project.annotator.label(task)
    client = init_app(MgralBackend, model_dir=str(tmp_path)).test_client()
    config = label_config(project.annotator.truth.names)
    uid = f"{project.id}.1795336536"
    assert client.get("/health").get_json()["status"] == "UP"
    setup = client.post("/setup", json={"project": uid, "schema": config, "hostname": "", "access_token": ""})
    assert setup.status_code == 200

    tasks = [{"id": t.id, "data": t.data, "project": project.id} for t in project.studio.tasks(project.id)]
    answer = client.post("/predict", json={"tasks": tasks, "project": uid, "label_config": config, "params": {}})
    results = answer.get_json()["results"]
    assert [r["model_version"] for r in results] == [project.live().model_version] * 6

    body = {"action": "START_TRAINING", "project": project.info()}
    assert client.post("/webhook", json=body).status_code == 201
    until(90, lambda: project.jobs.last("train", project.id) is not None, "a training job from the other server")
    assert project.wait("train")["result"]["predicted"] == 6

"""The protocol as others speak it: label-studio-ml 2.x as the host, requests as the README of the SDK has them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from flask.testing import FlaskClient
from label_studio_ml.api import init_app

from backend import plugin
from backend.plugin import NOT_READY, MgralBackend
from backend.project.published import Publication
from backend.project.serving import published_of
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from backend.web.app import create_app
from tests.backend.web import host
from tests.backend.web.requests import CONFIG, CONTEXT, REGION, event, task

BOX = {"type": "rectanglelabels", "value": {"x": 1}}


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setattr(plugin, "get_settings", lambda: settings)
    return create_app(settings).test_client()


@pytest.fixture
def hosted(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """The server of version 2, and the plugin as it is where that version is installed."""
    stand_in = ModuleType("label_studio_ml.model")
    vars(stand_in)["LabelStudioMLBase"] = host.Base
    monkeypatch.setitem(sys.modules, "label_studio_ml.model", stand_in)
    monkeypatch.setattr(host.Base, "kept", {})
    spec = importlib.util.find_spec("backend.plugin")
    assert spec is not None
    assert spec.loader is not None
    hosted = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hosted)
    monkeypatch.setattr(hosted, "get_settings", lambda: settings)
    return host.serve(hosted.MgralBackend).test_client()


def publish(settings: Settings, project: int) -> None:
    published = published_of(settings, project)
    published.predictions("v1-r001").put([(1, "/data/upload/1/a.jpg", 0.25, [BOX])])
    published.publish(Publication("v1-r001", "v1", "entropy", 0))


def test_the_server_of_version_2_gets_boxes_and_one_version(hosted: FlaskClient, settings: Settings) -> None:
    sent = {"project": "21.1", "schema": CONFIG, "hostname": "", "access_token": "", "extra_params": '{"a": 1}'}
    assert hosted.post("/setup", json=sent).get_json() == {"model_version": NOT_READY}
    asked = {"tasks": [task(1, 21)], "project": "21.1", "label_config": CONFIG, "params": CONTEXT}
    assert hosted.post("/predict", json=asked).get_json() == {"results": [[]]}
    assert Jobs(settings).active("rank", 21) is not None
    publish(settings, 21)
    assert hosted.post("/setup", json=sent).get_json() == {"model_version": "v1-r001"}
    known = {"result": [BOX], "score": 0.25, "model_version": "v1-r001"}
    assert hosted.post("/predict", json=asked).get_json() == {"results": [known]}


def test_the_server_of_version_2_trains_only_when_asked_to(hosted: FlaskClient, settings: Settings) -> None:
    for action in ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_DELETED"):
        assert hosted.post("/webhook", json=event(action, 21, 1)).get_json()["result"] == {"ignored": action}
    assert Jobs(settings).active("train", 21) is None
    answer = hosted.post("/webhook", json=event("START_TRAINING", 21, 1))
    job = Jobs(settings).active("train", 21)
    assert job is not None
    assert (answer.status_code, answer.get_json()["result"]) == (201, {"job": job.id})


def test_the_server_of_version_2_refuses_a_config_that_cannot_work(hosted: FlaskClient) -> None:
    for schema in (CONFIG.replace("$image", "$photo.url"), "<View", "7"):
        with pytest.raises(ValueError, match=r"photo\.url|cannot be parsed"):
            hosted.post("/setup", json={"project": "21.1", "schema": schema})
    # its cache holds the config of the request before
    publish_config = CONFIG.replace("$image", "$picture")
    hosted.post("/setup", json={"project": "21.1", "schema": publish_config})
    with pytest.raises(ValueError, match="cannot be parsed"):
        hosted.post("/predict", json={"tasks": [task(1, 21)], "project": "21.1", "label_config": "<View", "params": {}})


@pytest.mark.usefixtures("client")
def test_the_server_of_version_1_gives_all_by_name(settings: Settings, tmp_path: Path) -> None:
    publish(settings, 21)
    first = init_app(MgralBackend, model_dir=str(tmp_path)).test_client()
    sent = {"project": "21.1", "schema": CONFIG, "hostname": "", "access_token": ""}
    assert first.post("/setup", json=sent).status_code == 200
    asked = {"tasks": [task(1, 21)], "project": "21.1", "label_config": CONFIG, "params": CONTEXT}
    assert first.post("/predict", json=asked).get_json()["results"][0]["result"] == [BOX]
    drawing = asked | {"params": CONTEXT | {"context": {"result": REGION}}, "tasks": []}
    assert first.post("/predict", json=drawing).get_json()["results"] == []
    plugged = MgralBackend(label_config=CONFIG, train_output={})
    assert plugged.process_event("ANNOTATION_CREATED", event("ANNOTATION_CREATED", 21, 1), "1", {}) is None
    started = plugged.process_event("START_TRAINING", event("START_TRAINING", 21, 1), "1", {})
    job = Jobs(settings).active("train", 21)
    assert job is not None
    assert started == {"job": job.id}


@pytest.mark.usefixtures("client")
def test_version_2_gives_event_and_data_by_position(settings: Settings) -> None:
    hosted = MgralBackend(project_id="21", label_config=CONFIG)
    assert hosted.fit("ANNOTATION_CREATED", {"project": {"id": 21}}) == {"ignored": "ANNOTATION_CREATED"}
    assert Jobs(settings).active("train", 21) is None
    answer = hosted.fit("START_TRAINING", {"project": {"id": 21}})
    job = Jobs(settings).active("train", 21)
    assert job is not None
    assert answer == {"job": job.id}


def test_one_version_everywhere(client: FlaskClient, settings: Settings) -> None:
    hosted = MgralBackend(project_id="21", label_config=CONFIG)
    assert hosted.get("model_version") == NOT_READY
    published_of(settings, 21).publish(Publication("v1-r001", "v1", "entropy", 0))
    setup = client.post("/setup", json={"project": "21.1", "schema": CONFIG}).get_json()
    assert hosted.get("model_version") == setup["model_version"] == "v1-r001"


def test_the_project_may_stand_in_the_body_only_and_a_task_may_have_no_id(
    client: FlaskClient, settings: Settings
) -> None:
    settings.predict_live = 0
    published = published_of(settings, 21)
    published.predictions("v1-r001").put([(1, "a.jpg", 0.25, [BOX])])
    published.publish(Publication("v1-r001", "v1", "entropy", 0))
    tasks = [{"id": 1, "data": {"image": "a.jpg"}}, {"data": {"image": "b.jpg"}}, {"id": 2}]
    sent = client.post("/predict", json={"tasks": tasks, "project": "21.1", "label_config": CONFIG})
    known = {"result": [BOX], "score": 0.25, "model_version": "v1-r001"}
    assert sent.get_json()["results"] == [known, [], []]
    nameless = client.post("/predict", json={"tasks": tasks, "label_config": CONFIG})
    assert nameless.status_code == 400
    assert "names none" in nameless.get_json()["error"]


def test_setup_refuses_a_config_that_cannot_work(client: FlaskClient) -> None:
    schema = CONFIG.replace("$image", "$photo.url")
    refused = client.post("/setup", json={"project": "21.1", "schema": schema})
    assert refused.status_code == 400
    assert "photo.url" in refused.get_json()["error"]

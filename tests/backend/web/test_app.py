"""The protocol, with Label Studio's requests and a real Redis."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from backend import plugin
from backend.project.published import Publication
from backend.project.serving import published_of
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from backend.web.app import create_app
from backend.web.protocol import NOT_READY
from tests.backend.web.requests import CONFIG, EVENTS, PREDICTIONS, connected, task
from tests.s3 import place


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """Of an installation to which the projects of the requests are connected."""
    monkeypatch.setattr(plugin, "get_settings", lambda: settings)
    connected(settings, 1, 7, 19, 24)
    return create_app(settings).test_client()


def publish(settings: Settings, rows: list) -> None:
    published = published_of(settings, 1)
    published.predictions("v1-r001").put(rows)
    published.publish(Publication("v1-r001", "v1", "entropy", 0))


def test_health_and_setup_load_no_model(client: FlaskClient, settings: Settings) -> None:
    before = set(sys.modules)
    assert client.get("/health").get_json()["status"] == "UP"
    answer = client.post("/setup", json={"project": "1.1795336536", "schema": CONFIG}).get_json()
    assert answer == {"model_version": NOT_READY}
    assert not {m for m in set(sys.modules) - before if m.startswith("ultralytics")}
    assert Jobs(settings).active("rank", 1) is not None  # the first ranking is asked for by itself
    publish(settings, [])
    answer = client.post("/setup", json={"project": "1.1795336536", "schema": CONFIG}).get_json()
    assert answer == {"model_version": "v1-r001"}


def test_predictions_that_a_worker_elsewhere_made(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MODEL_DIR is a URL; worker and backend share no directory."""
    url = place("memory", tmp_path)
    worker, server = (
        settings.model_copy(update={"model_dir": url, "cache_dir": tmp_path / name}) for name in ("worker", "server")
    )
    monkeypatch.setattr(plugin, "get_settings", lambda: server)
    client = create_app(server).test_client()
    box = {"type": "rectanglelabels", "value": {"x": 1}}
    publish(worker, [(1, "/data/upload/1/a.jpg", 0.25, [box])])
    answer = client.post("/setup", json={"project": "1.1795336536", "schema": CONFIG}).get_json()
    assert answer == {"model_version": "v1-r001"}
    answer = client.post("/predict", json={"tasks": [task(1)], "project": "1.1", "label_config": CONFIG, "params": {}})
    assert answer.get_json()["results"] == [{"result": [box], "score": 0.25, "model_version": "v1-r001"}]
    assert client.get("/versions").get_json() == {"versions": ["v1-r001"]}


def test_versions_are_those_of_every_project_that_can_be_read(client: FlaskClient, settings: Settings) -> None:
    publish(settings, [])
    for name, text in (("2", "damaged"), ("backup", "[]"), ("3.old", "[]")):
        (Path(settings.model_dir) / name).mkdir(exist_ok=True)
        (Path(settings.model_dir) / name / "published.json").write_text(text)
    assert client.get("/versions").get_json() == {"versions": ["v1-r001"]}


def test_known_predictions_are_answered_in_order_and_none_is_empty_by_mistake(
    client: FlaskClient, settings: Settings
) -> None:
    box = {"type": "rectanglelabels", "value": {"x": 1}}
    many = range(1, 121)
    publish(settings, [(n, "/data/upload/1/a.jpg", n / 3000, [box]) for n in many])
    tasks = [task(n) for n in (*many, *range(5000, 5050))]
    answer = client.post("/predict", json={"tasks": tasks, "project": "1.1", "label_config": CONFIG, "params": {}})
    results = answer.get_json()["results"]
    assert len(results) == len(tasks)
    assert results[4] == {"result": [box], "score": 5 / 3000, "model_version": "v1-r001"}
    assert all(r["result"] for r in results[:120])
    assert results[120:] == [[]] * 50  # no prediction at all: Label Studio then stores nothing
    assert Jobs(settings).active("predict", 1) is not None


def test_very_many_are_left_to_the_workers_bulk_import(client: FlaskClient, settings: Settings) -> None:
    publish(settings, [(n, "/data/upload/1/a.jpg", n / 3000, []) for n in range(2000)])
    answer = client.post("/predict", json={"tasks": [task(n) for n in range(2000)], "label_config": CONFIG})
    assert answer.get_json()["results"] == [[]] * 2000
    assert Jobs(settings).active("predict", 1) is not None


def test_a_task_whose_image_changed_is_predicted_anew(client: FlaskClient, settings: Settings) -> None:
    settings.predict_live = 0
    publish(settings, [(1, "/data/upload/1/old.jpg", 0.5, [])])
    answer = client.post("/predict", json={"tasks": [task(1)], "project": "1.1", "label_config": CONFIG})
    assert answer.get_json()["results"] == [[]]


def test_events_only_enqueue(client: FlaskClient, settings: Settings) -> None:
    answer = client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 7}})
    assert answer.status_code == 201
    job = Jobs(settings).active("train", 7)
    assert job is not None
    assert answer.get_json() == {"job": job.id}
    assert client.post("/job_status", json={"job": job.id}).get_json()["job_status"] == "queued"
    assert client.post("/job_status", json={"job": "nonsense"}).status_code == 410
    assert client.post("/webhook", json={"action": "START_TRAINING"}).status_code == 400


def test_events_of_every_kind(client: FlaskClient, settings: Settings) -> None:
    settings.start_training_each_n_updates = 3
    jobs = Jobs(settings)
    assert client.post("/webhook", json=EVENTS["PROJECT_UPDATED"]).get_json() == {"ignored": "PROJECT_UPDATED"}
    assert client.post("/webhook", json=EVENTS["skip"]).status_code == 200
    assert client.post("/webhook", json=EVENTS["ANNOTATION_CREATED"]).status_code == 200
    assert jobs.queue.count == 0
    assert client.post("/webhook", json=EVENTS["TASKS_CREATED"]).status_code == 201
    assert client.post("/webhook", json=EVENTS["ANNOTATIONS_CREATED"]).status_code == 201  # the third
    assert client.post("/webhook", json=EVENTS["START_TRAINING"]).status_code == 201
    assert {job.get_meta()["kind"] for queue in jobs.queues for job in queue.jobs} == {"predict", "train"}


@pytest.mark.parametrize("name", list(PREDICTIONS))
def test_predict_requests_get_one_answer_a_task(client: FlaskClient, name: str) -> None:
    body = PREDICTIONS[name]
    assert len(client.post("/predict", json=body).get_json()["results"]) == len(body["tasks"])


def test_basic_auth_guards_everything_but_health(settings: Settings) -> None:
    settings.basic_auth_user, settings.basic_auth_pass = "u", "s3cret"
    client = create_app(settings).test_client()
    assert client.get("/health").status_code == 200
    assert client.get("/versions").status_code == 401
    right = {"Authorization": "Basic " + base64.b64encode(b"u:s3cret").decode()}
    assert client.get("/versions", headers=right).get_json() == {"versions": []}
    assert client.get("/versions", headers={"Authorization": "Basic dTp4"}).status_code == 401


def test_errors_are_one_line_with_a_remedy(client: FlaskClient, settings: Settings) -> None:
    refused = client.post("/setup", json={"project": "1.1", "schema": "<View></View>"})
    assert refused.status_code == 400
    assert "RectangleLabels" in refused.get_json()["error"]
    away = create_app(Settings(_env_file=None, redis_url="redis://127.0.0.1:1/0", model_dir=settings.model_dir))
    answer = away.test_client().post("/webhook", json={"action": "TASKS_CREATED", "project": {"id": 1}})
    assert answer.status_code == 503
    assert "Redis" in answer.get_json()["error"]


def test_the_project_page_tells_what_is_live(client: FlaskClient, settings: Settings) -> None:
    publish(settings, [])
    Jobs(settings).enqueue("train", 1)
    seen = client.get("/api/projects/1").get_json()
    assert seen["live"]["model_version"] == "v1-r001"
    assert [job["kind"] for job in seen["jobs"]] == ["train"]
    assert client.post("/api/projects/1/cancel").get_json()["cancelled"] == [seen["jobs"][0]["job"]]
    assert Path(settings.model_dir).exists()

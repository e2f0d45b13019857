"""Work is begun only for projects that there are, and only as long as there is room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from backend import plugin
from backend.plugin import NOT_READY
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from backend.web.app import create_app
from tests.backend.web.requests import CONFIG, EVENTS, connected, event, task
from tests.faults import Answer, FaultyProxy, Hang

NONE = Answer(404, '{"detail": "No Project matches the given query."}')


@pytest.fixture
def studio(settings: Settings) -> Iterator[FaultyProxy]:
    """In the place of Label Studio: it has the project 7 alone."""
    with FaultyProxy("http://127.0.0.1:9") as studio:
        studio.next(10**6, "GET", "/api/projects/7/", Answer(200, '{"id": 7}'))
        studio.next(10**6, "GET", "/api/projects/", NONE)
        settings.label_studio_url = studio.url
        yield studio


@pytest.fixture
def client(settings: Settings, studio: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    assert settings.label_studio_url == studio.url
    monkeypatch.setattr(plugin, "get_settings", lambda: settings)
    return create_app(settings).test_client()


def waiting(settings: Settings) -> int:
    return sum(queue.count for queue in Jobs(settings).queues)


@pytest.mark.parametrize("action", ["START_TRAINING", "TASKS_CREATED", "ANNOTATION_CREATED", "PROJECT_UPDATED"])
def test_events_of_made_up_projects_enqueue_nothing(client: FlaskClient, settings: Settings, action: str) -> None:
    settings.start_training_each_n_updates = 1
    for project in range(1000, 1030):
        answer = client.post("/webhook", json=event(action, project, 50))
        assert answer.status_code == 404
        assert f"mgral connect {project}" in answer.get_json()["error"]
    assert waiting(settings) == 0


def test_no_route_enqueues_for_made_up_projects(client: FlaskClient, settings: Settings) -> None:
    for project in (1000, 1001):
        tasks = [task(1, project)]
        assert client.post("/setup", json={"project": f"{project}.1", "schema": CONFIG}).status_code == 404
        assert client.post("/predict", json={"tasks": tasks, "label_config": CONFIG}).status_code == 404
        assert client.post(f"/api/projects/{project}/cancel").status_code == 404
    assert waiting(settings) == 0


def test_label_studio_is_asked_once_about_a_project(client: FlaskClient, studio: FaultyProxy) -> None:
    for _ in range(20):
        assert client.post("/webhook", json=event("TASKS_CREATED", 1000, 0)).status_code == 404
        assert client.post("/webhook", json=event("TASKS_CREATED", 7, 0)).status_code == 201
    assert studio.count("GET", "/api/projects/1000/") == studio.count("GET", "/api/projects/7/") == 1


def test_a_project_that_is_connected_by_hand_is_known_to_label_studio(client: FlaskClient, settings: Settings) -> None:
    answer = client.post("/setup", json={"project": "7.1", "schema": CONFIG})
    assert answer.get_json() == {"model_version": NOT_READY}
    assert Jobs(settings).active("rank", 7) is not None


def test_what_is_connected_is_known_whatever_becomes_of_label_studio(
    client: FlaskClient, settings: Settings, studio: FaultyProxy
) -> None:
    studio.clear()
    studio.next(10**6, "GET", "/", Hang())
    Jobs(settings).enqueue("rank", 8)  # as `mgral connect` does
    connected(settings, 19)
    for project in (8, 19):
        assert client.post("/webhook", json=event("START_TRAINING", project, 0)).status_code == 201


def test_who_cannot_be_asked_about_enqueues_nothing_and_waits_for_nobody(
    client: FlaskClient, settings: Settings, studio: FaultyProxy
) -> None:
    studio.clear()
    studio.next(10**6, "GET", "/", Hang())
    answer = client.post("/webhook", json=event("START_TRAINING", 7, 0))
    assert answer.status_code == 404
    assert int(answer.headers["Retry-After"]) > 0
    answer = client.post("/setup", json={"project": "7.1", "schema": CONFIG})
    assert answer.get_json() == {"model_version": NOT_READY}  # asked again whenever Label Studio looks
    sent = {"tasks": [task(1, 7)], "label_config": CONFIG}
    assert client.post("/predict", json=sent).get_json() == {"results": [[]]}
    assert waiting(settings) == 0


def test_the_queue_has_a_limit(client: FlaskClient, settings: Settings) -> None:
    settings.max_waiting_jobs = 5
    connected(settings, *range(1, 10), 19)
    answers = [client.post("/webhook", json=event("TASKS_CREATED", project, 0)) for project in range(1, 10)]
    assert [answer.status_code for answer in answers] == [201] * 5 + [503] * 4
    assert "MAX_WAITING_JOBS" in answers[-1].get_json()["error"]
    assert int(answers[-1].headers["Retry-After"]) > 0
    assert client.post("/setup", json={"project": "9.1", "schema": CONFIG}).get_json() == {"model_version": NOT_READY}
    assert client.post("/webhook", json=EVENTS["PROJECT_UPDATED"]).status_code == 200
    assert waiting(settings) == 5

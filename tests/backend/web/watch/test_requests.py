"""Each request has an id and is counted; the id goes on into the jobs that it asks for."""

from __future__ import annotations

import logging

import pytest
from flask.testing import FlaskClient

from backend import plugin
from backend.counters import COUNTED
from backend.project.audit import read
from backend.queue.enqueue import Jobs
from backend.request_id import HEADER, request_id
from backend.settings import Settings
from backend.web.app import create_app
from tests.backend.web.requests import EVENTS, connected

ASKED = "5f0c2e64-11d2-4e7a-9f57-0d2f6a3b1c9e"


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setattr(plugin, "get_settings", lambda: settings)
    connected(settings, 1, 19)
    return create_app(settings).test_client()


def requests_of(route: str, status: int, method: str = "GET") -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return COUNTED.get_sample_value("mgral_http_requests_total", labels) or 0


def test_an_answer_names_the_id(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    assert client.get("/health", headers={HEADER: ASKED}).headers[HEADER] == ASKED
    made = [client.get(path).headers[HEADER] for path in ("/health", "/health", "/nowhere")]
    assert len({*made, ASKED}) == 4
    evil = client.get("/health", headers={HEADER: "a b <script>"}).headers[HEADER]
    assert len(evil) == 32
    assert request_id() == ""
    with caplog.at_level(logging.DEBUG, logger="backend.web.watch.requests"):
        client.get("/health")
    assert "GET /health: 200" in caplog.text


def test_what_is_refused_has_an_id_and_is_counted_too(settings: Settings) -> None:
    closed = settings.model_copy(update={"basic_auth_user": "a", "basic_auth_pass": "b"})
    before = requests_of("/setup", 401, "POST")
    refused = create_app(closed).test_client().post("/setup", json={}, headers={HEADER: ASKED})
    assert refused.status_code == 401
    assert refused.headers[HEADER] == ASKED
    assert requests_of("/setup", 401, "POST") == before + 1


def test_addresses_that_there_are_not_are_one_route(client: FlaskClient) -> None:
    before = requests_of("unknown", 404)
    for number in range(3):
        client.get(f"/{number}/nowhere")
    assert requests_of("unknown", 404) == before + 3
    odd = requests_of("unknown", 404, "other")
    client.open("/nowhere", method="BREW")
    assert requests_of("unknown", 404, "other") == odd + 1


def test_a_training_that_label_studio_asks_for_bears_the_id(client: FlaskClient, settings: Settings) -> None:
    client.post("/webhook", json=EVENTS["START_TRAINING"], headers={HEADER: ASKED})
    job = Jobs(settings).last("train", 1)
    assert job is not None
    assert job.meta["request"] == ASKED
    (event,) = read(settings, 1)
    assert (event.what, event.who, event.via, event.request) == ("train", "label-studio", "webhook", ASKED)
    assert event.details == {"job": job.id, "new": True}


def test_what_annotators_do_is_no_change_by_a_person(client: FlaskClient, settings: Settings) -> None:
    assert client.post("/webhook", json=EVENTS["TASKS_CREATED"]).status_code == 201
    assert read(settings, 19) == []

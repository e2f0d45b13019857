"""What is wrong in a request is said in one line, by a status below 500, and nothing of our inside is shown."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from backend import plugin
from backend.project.published import Publication
from backend.project.serving import published_of
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from backend.web.app import create_app
from tests.backend.web.requests import CONFIG, EVENTS, PREDICTIONS, connected, event, task
from tests.patience import AT_ONCE_SECONDS

WRONG_IDS = [
    *("²", "٣", "1e3", "0x10", "-1", " 1", "1 ", "1_000", "1.", "1.x", "", "9" * 5000, "1\x00"),
    *(-1, 0, True, False, 1.5, 10**40, -(10**40), [], {}),
]
ANYTHING: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    10**40,
    "",
    "²",
    "x" * 1000,
    [],
    [[]],
    [5],
    {},
    {"x": {}},
    "\x00",
    "<View/>",
]


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """Of an installation with one project, whose live version is not there."""
    monkeypatch.setattr(plugin, "get_settings", lambda: settings)
    connected(settings, 1)
    published_of(settings, 1).publish(Publication("v1-r001", "v1", "entropy", 0))
    return create_app(settings).test_client()


def refused(answer: Any) -> str:
    """The line of an answer that is one of those to a wrong request."""
    assert 400 <= answer.status_code < 500, answer.text
    said: str = answer.get_json()["error"]
    assert set(answer.get_json()) == {"error"}
    for inside in ("Traceback", "Error(", "ValueError", "/work", ".py", "backend.", "pydantic", "werkzeug", "\n"):
        assert inside not in said
    assert 0 < len(said) <= 503
    return said


@pytest.mark.parametrize("value", WRONG_IDS, ids=lambda value: repr(value)[:20])
def test_ids_that_are_none(client: FlaskClient, value: Any) -> None:
    assert "project" in refused(client.post("/setup", json={"project": value, "schema": CONFIG}))
    assert "project" in refused(client.post("/webhook", json=event("TASKS_CREATED", value, 0)))
    assert "project" in refused(client.post("/predict", json={"tasks": [task(1)], "project": value}))
    assert "tasks" in refused(client.post("/predict", json={"tasks": [task(1, value)], "label_config": CONFIG}))
    if value != 0 or isinstance(value, bool):
        assert "tasks" in refused(client.post("/predict", json={"tasks": [task(value)], "label_config": CONFIG}))


def places(body: Any) -> list[tuple]:
    """The path of every value within JSON."""
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    return [(), *((key, *rest) for key, value in inner for rest in places(value))]


def replaced(body: Any, path: tuple, value: Any) -> Any:
    """JSON with another value in one place."""
    if not path:
        return value
    if isinstance(body, dict):
        return {key: replaced(v, path[1:], value) if key == path[0] else v for key, v in body.items()}
    return [replaced(v, path[1:], value) if key == path[0] else v for key, v in enumerate(body)]


BODIES = [
    ("/setup", {"project": "1.1", "schema": CONFIG, "hostname": "x", "access_token": "x", "extra_params": {"a": 1}}),
    ("/predict", {"tasks": [task(1), task(2)], "project": "1.1", "label_config": CONFIG, "params": {"context": None}}),
    ("/predict", PREDICTIONS["interactive"] | {"tasks": [task(1)], "project": "1.1"}),
    ("/webhook", event("START_TRAINING", 1, 0)),
    ("/webhook", event("ANNOTATION_CREATED", 1, 3, annotation=EVENTS["ANNOTATION_CREATED"]["annotation"])),
    ("/webhook", event("PROJECT_UPDATED", 1, 3)),
    ("/job_status", {"job": "nonsense"}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body"), BODIES, ids=lambda value: value if isinstance(value, str) else "")
def test_any_value_in_any_place_ends_nothing(
    client: FlaskClient, path: str, body: dict, caplog: pytest.LogCaptureFixture
) -> None:
    for place in places(body):
        for value in ANYTHING:
            if place == ("label_config",) and not value:
                continue  # Label Studio is asked for it then
            answer = client.post(path, json=replaced(body, place, value))
            if answer.status_code >= 400:
                refused(answer)
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"nonsense", b"[]", b"null", b"5", b'"x"', b"\xff\xfe{\x00}\x00", b"\x00", b"NaN"),
        *(b"[" * 100_000, b'{"a":' * 50_000, b"[" * 100_000 + b"]" * 100_000),
        *(b'{"project": 1e999}', b'{"project": 1, "x": "\\ud800"}', b'{"project": ' + b"9" * 6000 + b"}"),
    ],
    ids=lambda body: repr(body[:12]),
)
@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook", "/job_status"])
def test_what_is_no_json_object(client: FlaskClient, path: str, body: bytes) -> None:
    refused(client.post(path, data=body, content_type="application/json"))


def test_bodies_are_bounded_in_bytes_and_in_values(settings: Settings) -> None:
    settings.max_body_mb = 4
    client = create_app(settings).test_client()
    for sent in (b'{"x": "' + b"a" * 5_000_000 + b'"}', b'{"x":[' + b"[]," * 1_000_000 + b"1]}"):
        answer = client.post("/webhook", data=sent, content_type="application/json")
        assert answer.status_code == 413
        refused(answer)
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    answer = client.post("/webhook", data=b" " * 5_000_000, content_type="application/json", environ_overrides=chunked)
    assert answer.status_code == 413


@pytest.mark.parametrize(
    "config",
    [
        "",
        "nonsense",
        "<View>",
        "<View/>",
        "<a" * 10_000,
        "<View>" * 20_000 + "</View>" * 20_000,
        CONFIG.replace("</View>", ""),
        CONFIG.replace('"image"', '""'),
        CONFIG.replace("$image", "$a.b[0]"),
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
        + CONFIG.replace("Car", "&b;")[:-7],
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><View>&a;</View>',
        "<View><RectangleLabels/></View>",
        '<View><Image/><RectangleLabels name="a" toName="b"><Label/></RectangleLabels></View>',
        "x" * 1_000_001,
        "\x00",
        "<View>\ud7ff￿</View>",
    ],
    ids=lambda config: repr(config[:20]),
)
def test_configs_that_cannot_be_served(client: FlaskClient, config: str) -> None:
    refused(client.post("/setup", json={"project": "1.1", "schema": config}))
    if config:  # without one the project's own is asked for
        refused(client.post("/predict", json={"tasks": [task(1)], "project": "1.1", "label_config": config}))


@pytest.mark.parametrize(
    "job", ["a b", "", " ", "a:b", "a\nb", "*", "é", "x" * 201, "a/b", "a:dependents", 5, None, ["a"], {}]
)
def test_job_ids_that_are_none(client: FlaskClient, job: Any) -> None:
    assert "job" in refused(client.post("/job_status", json={"job": job}))


def test_a_job_of_somebody_else_is_not_known(client: FlaskClient, settings: Settings) -> None:
    redis = Jobs(settings).connection
    redis.set("rq:job:text", "x")
    redis.hset("rq:job:foreign", mapping={"created_at": "never", "data": b"\x80\x04pickled", "meta": b"x"})
    redis.hset("rq:job:half", "status", "queued")
    try:
        for job in ("text", "foreign", "half"):
            assert client.post("/job_status", json={"job": job}).status_code in (200, 410)
    finally:
        redis.delete("rq:job:text", "rq:job:foreign", "rq:job:half")


def test_a_pointer_to_a_version_that_is_missing_gives_no_boxes_and_no_error(
    client: FlaskClient, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client.post("/predict", json={"tasks": [task(1)], "project": "1.1", "label_config": CONFIG})
    assert (answer.status_code, answer.get_json()) == (200, {"results": [[]]})
    assert any("v1" in record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR)
    assert Jobs(settings).active("predict", 1) is not None
    drawn = PREDICTIONS["interactive"] | {"tasks": [task(1)], "project": "1.1"}
    assert client.post("/predict", json=drawn).get_json()["results"][0]["result"] == []


@pytest.mark.parametrize("text", ["", "{", "null", "5", "[1]", '[{"a": 1}]', '{"x": []}', "\x00", "[" * 100_000])
def test_a_damaged_pointer_ends_nothing(client: FlaskClient, settings: Settings, text: str) -> None:
    (Path(settings.model_dir) / "1" / "published.json").write_text(text)
    assert client.post("/setup", json={"project": "1.1", "schema": CONFIG}).status_code == 200
    for method, path, body in (
        ("GET", "/versions", None),
        ("GET", "/api/projects/1", None),
        ("POST", "/predict", {"tasks": [task(1)], "project": "1.1", "label_config": CONFIG}),
        ("POST", "/webhook", event("ANNOTATION_CREATED", 1, 3)),
    ):
        answer = client.open(path, method=method, json=body)
        assert answer.status_code in (200, 201, 503), answer.text
        assert str(settings.model_dir) not in answer.text or path.startswith("/api")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("POST", "/health", 405),
        ("PUT", "/webhook", 405),
        ("GET", "/nothing", 404),
        ("GET", "/static/app.py", 404),
        ("GET", "/api/projects/0", 404),
        ("GET", "/api/projects/2", 404),
        ("GET", "/api/projects/-1", 404),
        ("GET", "/api/projects/²", 404),
        ("GET", "/api/projects/" + "9" * 400, 404),
        ("POST", "/api/projects/2/cancel", 404),
        ("GET", "/api/projects/../1", 404),
    ],
)
def test_routes_and_projects_that_are_not_there(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method, json={} if method != "GET" else None)
    assert answer.status_code == status
    refused(answer)


def test_setup_is_answered_while_what_is_live_cannot_be_read(
    client: FlaskClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading hangs, as of a bucket or a network disk it may."""
    monkeypatch.setattr("backend.web.service.READ_SECONDS", 0.1)
    setup = {"project": "1.1", "schema": CONFIG}
    assert client.post("/setup", json=setup).get_json() == {"model_version": "v1-r001"}
    asked, answering = threading.Event(), threading.Event()

    def hang(path: Path) -> bytes:
        asked.set()
        answering.wait()
        return path.read_bytes()

    monkeypatch.setattr("model.artefacts.contents", hang)
    pointer = Path(settings.model_dir) / "1" / "published.json"
    os.utime(pointer, (1, 1))  # it is another file than the one that was read
    for _ in range(10):
        began = time.monotonic()
        assert client.post("/setup", json=setup).get_json() == {"model_version": "v1-r001"}
        assert time.monotonic() - began < AT_ONCE_SECONDS
    assert asked.is_set()
    answering.set()


def test_passwords_stay_out_of_answers(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.redis_url = "redis://:t0p-secret@127.0.0.1:1/0"
    connected(settings, 1)
    answer = create_app(settings).test_client().post("/webhook", json=event("TASKS_CREATED", 1, 0))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "t0p-secret" not in json.dumps(answer.get_json()) + caplog.text
    assert "REDIS_URL" in answer.get_json()["error"]

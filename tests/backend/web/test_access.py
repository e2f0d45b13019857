"""Who is answered: the password, in any way in which it may be written; guesses; pages in browsers."""

from __future__ import annotations

import base64
import time

import pytest
from flask.testing import FlaskClient

from backend.settings import Settings
from backend.web import access
from backend.web.app import create_app
from backend.web.server import exposure
from tests.backend.web.requests import EVENTS, connected

ROUTES = [
    ("POST", "/setup"),
    ("POST", "/predict"),
    ("POST", "/webhook"),
    ("GET", "/versions"),
    ("POST", "/job_status"),
    ("GET", "/api/projects/1"),
    ("POST", "/api/projects/1/cancel"),
    ("GET", "/nothing/here"),
    ("GET", "/health/"),
    ("DELETE", "/setup"),
]


def basic(text: str, scheme: str = "Basic") -> dict[str, str]:
    return {"Authorization": f"{scheme} {base64.b64encode(text.encode()).decode()}"}


@pytest.fixture
def client(settings: Settings) -> FlaskClient:
    settings.basic_auth_user, settings.basic_auth_pass = "usér", "s3:crét"
    connected(settings, 1)
    return create_app(settings).test_client()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_every_route_but_health_asks_for_the_password(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open(path, method=method, json={})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Basic realm="')
    assert client.open(path, method=method, json={}, headers=basic("usér:s3:crét")).status_code not in (401, 403)


def test_health_is_open(client: FlaskClient) -> None:
    assert client.get("/health").status_code == client.get("/").status_code == client.head("/health").status_code == 200


@pytest.mark.parametrize("scheme", ["Basic", "basic", "BASIC", "bAsIc", " Basic ", "Basic  "])
def test_the_scheme_may_be_written_in_any_case(client: FlaskClient, scheme: str) -> None:
    assert client.get("/versions", headers=basic("usér:s3:crét", scheme)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Basic"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic ////"},
        {"Authorization": "Basic " + "A" * 100_000},
        basic(""),
        basic(":"),
        basic("usér"),
        basic("usér:"),
        basic(":s3:crét"),
        basic("usér:s3:crét "),
        basic("usér:S3:crét"),
        basic("usérs3:crét"),
        basic("usér:s3:crét\x00"),
        basic("usér:s3:crét", "Bearer"),
        basic("usér:s3:crét", "Token"),
        {"Authorization": "Basic usér:s3:crét"},
    ],
    ids=str,
)
def test_nothing_else_is_the_password(client: FlaskClient, header: dict[str, str]) -> None:
    answer = client.get("/versions", headers={k: v[:200_000].encode().decode("latin-1") for k, v in header.items()})
    assert answer.status_code == 401
    assert "s3" not in answer.text


def test_guesses_are_counted_and_then_not_looked_at(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    stranger, guess = {"REMOTE_ADDR": "192.0.2.7"}, basic("usér:guess")
    seen = [client.get("/versions", headers=guess, environ_base=stranger) for _ in range(25)]
    assert [answer.status_code for answer in seen] == [401] * 20 + [429] * 5
    assert 0 < int(seen[-1].headers["Retry-After"]) <= 60
    assert caplog.text.count("192.0.2.7") == 1
    assert "\n" not in seen[-1].get_json()["error"]
    right = basic("usér:s3:crét")
    assert client.get("/versions", headers=right, environ_base=stranger).status_code == 429  # it might be a guess
    assert client.get("/versions", headers=right, environ_base={"REMOTE_ADDR": "192.0.2.8"}).status_code == 200
    assert client.get("/health", environ_base=stranger).status_code == 200


def test_one_machine_has_one_ipv6_network(client: FlaskClient) -> None:
    for n in range(20):
        client.get("/versions", headers=basic("usér:guess"), environ_base={"REMOTE_ADDR": f"2001:db8::{n:x}"})
    last = client.get("/versions", headers=basic("usér:guess"), environ_base={"REMOTE_ADDR": "2001:db8::ffff"})
    assert last.status_code == 429


def test_label_studio_is_not_locked_out_by_others_behind_its_address(client: FlaskClient) -> None:
    right = basic("usér:s3:crét")
    assert client.get("/versions", headers=right).status_code == 200
    guesses = [client.get("/versions", headers=basic("usér:guess")).status_code for _ in range(25)]
    assert guesses[-1] == 429
    assert client.get("/versions", headers=right).status_code == 200


def test_a_missing_password_is_no_guess(client: FlaskClient) -> None:
    assert {client.get("/versions").status_code for _ in range(50)} == {401}


def test_redis_is_not_needed_to_count(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.basic_auth_user, settings.basic_auth_pass, settings.redis_url = "u", "p", "redis://127.0.0.1:1/0"
    client = create_app(settings).test_client()
    assert client.get("/versions", headers=basic("u:p")).status_code == 200
    assert client.get("/versions", headers=basic("u:q")).status_code == 401
    now = time.monotonic()
    monkeypatch.setattr(access.time, "monotonic", lambda: now + access.TRUSTED_SECONDS + 1)
    assert client.get("/versions", headers=basic("u:p")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"Origin": "http://localhost"}, 201),
        ({"Sec-Fetch-Site": "same-origin"}, 201),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Origin": "http://[::x]:9090", "Sec-Fetch-Site": "same-origin"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Host": "[::1"}, 403),
        ({"Sec-Fetch-Site": "none", "Host": "[::x]:9090"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://evil.example", "Host": "evil.example"}, 403),  # its name leads here
        ({"Sec-Fetch-Site": "same-origin", "Host": "evil.example:9090"}, 403),
        ({"Sec-Fetch-Site": "none", "Host": "localhost.evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9090", "Host": "127.0.0.1:9090"}, 201),
        ({"Origin": "http://[::1]:9090", "Host": "[::1]:9090"}, 201),
        ({"Host": "backend:9090"}, 201),  # Label Studio names no origin
    ],
    ids=str,
)
def test_pages_of_others_ask_for_nothing(settings: Settings, headers: dict[str, str], status: int) -> None:
    connected(settings, 19)
    client = create_app(settings).test_client()
    assert client.post("/webhook", json=EVENTS["TASKS_CREATED"], headers=headers).status_code == status


def test_a_form_of_a_page_is_no_json(settings: Settings) -> None:
    connected(settings, 19)
    client = create_app(settings).test_client()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        answer = client.post("/webhook", data='{"action": "START_TRAINING", "project": {"id": 19}}', content_type=kind)
        assert answer.status_code == 415


def test_without_a_password_this_machine_alone_is_answered() -> None:
    def of(**settings: str) -> Settings:
        return Settings(_env_file=None, **settings)  # type: ignore[arg-type]

    password = {"basic_auth_user": "u", "basic_auth_pass": "p"}
    assert (of().address, of(**password).address) == ("127.0.0.1", "0.0.0.0")
    assert of(listen=" [::] ").address == "::"
    assert of(listen="127.0.0.1", **password).address == "127.0.0.1"
    assert exposure(of(**password)) is None
    assert "only this machine" in str(exposure(of()))
    assert "whoever reaches port 9090" in str(exposure(of(listen="0.0.0.0")))
    for wrong in ("0.0.0.0:9090 x", "http://0.0.0.0"):
        with pytest.raises(ValueError, match="LISTEN"):
            of(listen=wrong)
    with pytest.raises(ValueError, match="colon"):
        of(basic_auth_user="a:b", basic_auth_pass="p")

"""What the client says of answers that are not Label Studio's, over real HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import jwt
import pytest

from backend.label_studio.client import Studio, StudioAway, StudioError
from backend.settings import Settings
from tests.backend.label_studio.web import PAGE, TOKEN, Answer, Server, running

REFRESH = "/api/token/refresh/"


def personal(kind: str = "refresh") -> str:
    return jwt.encode({"token_type": kind, "exp": int(time.time()) + 3600}, "0" * 32)


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        server.answers["/"] = [Answer(404, PAGE)]
        yield server


def body(**values: object) -> Answer:
    return Answer(body=json.dumps(values).encode())


@pytest.mark.parametrize("path", ["", "/ls", "/ls/"])
def test_a_personal_access_token_is_exchanged_below_the_path(server: Server, path: str) -> None:
    base = path.rstrip("/")
    server.answers[base + REFRESH] = [body(access=personal("access"))]
    server.answers[f"{base}/api/version"] = [body(release="1.23")]
    studio = Studio(server.url + path, personal())
    assert studio.call("GET", "/api/version") == {"release": "1.23"}
    assert [asked for asked, _ in server.asked] == [base + REFRESH, f"{base}/api/version"]


@pytest.mark.parametrize("status", [200, 403, 404])
def test_a_page_in_the_place_of_json_is_said_to_be_one(server: Server, status: int) -> None:
    server.answers["/api/projects/1/"] = [Answer(status, PAGE)]
    with pytest.raises(StudioError, match=r"web page titled 'Log in'.*LABEL_STUDIO_URL.*path") as error:
        Studio(server.url, TOKEN).project(1)
    assert not isinstance(error.value, StudioAway)
    assert "Expecting value" not in str(error.value)


def test_what_is_neither_json_nor_a_page_is_shown(server: Server) -> None:
    server.answers["/api/version"] = [Answer(body=b"It works!")]
    with pytest.raises(StudioError, match="no JSON but b'It works!'"):
        Studio(server.url, TOKEN).call("GET", "/api/version")


@pytest.mark.parametrize(
    ("answer", "said", "away"),
    [
        (Answer(200, PAGE), "web page titled 'Log in'", False),
        (Answer(200, b"It works!"), "no JSON", False),
        (Answer(404, PAGE), "web page", False),
        (Answer(401, b'{"detail": "Token is blacklisted"}'), "token is refused.*blacklisted", False),
        (Answer(502, PAGE), "502", True),
        (Answer(503, b"{}"), "503", True),
        (Answer(429, b'{"detail": "slow down"}'), "429", True),
    ],
)
def test_why_a_personal_access_token_was_not_exchanged(server: Server, answer: Answer, said: str, away: bool) -> None:
    server.answers[REFRESH] = [answer]
    with pytest.raises(StudioError, match=said) as error:
        Studio(server.url, personal()).authorization()
    assert isinstance(error.value, StudioAway) == away


def test_what_does_not_exist_is_told_from_a_wrong_address(server: Server) -> None:
    server.answers["/api/projects/1/"] = [Answer(404, b'{"detail": "Not found."}')]
    with pytest.raises(StudioError, match="there is no project 1"):
        Studio(server.url, TOKEN).project(1)
    server.answers["/api/predictions/5/"] = [Answer(404, b"{}")]
    Studio(server.url, TOKEN).delete_prediction(5)


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_to_wait_is_asked_again_soon_and_then_is_away(server: Server, status: int) -> None:
    server.answers["/api/version"] = [Answer(status, b"", {"Retry-After": "0"}), body(release="1.23")]
    assert Studio(server.url, TOKEN).call("GET", "/api/version") == {"release": "1.23"}
    server.answers["/api/version"] = [Answer(status, b"wait", {"Retry-After": "0"})]
    with pytest.raises(StudioAway, match=f"{status}: wait"):
        Studio(server.url, TOKEN).call("GET", "/api/version")


@pytest.mark.parametrize("wait", ["Fri, 31 Dec 2027 23:59:59 GMT", "1.5", "soon", ""])
@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_to_wait_in_any_words_is_away(server: Server, status: int, wait: str) -> None:
    server.answers["/api/version"] = [Answer(status, b"{}", {"Retry-After": wait})]
    studio = Studio(server.url, TOKEN)
    for adapter in studio.session.adapters.values():  # the date is in the far future: it would be waited for
        adapter.max_retries.backoff_factor = adapter.max_retries.retry_after_max = 0  # type: ignore[attr-defined]
    with pytest.raises(StudioAway, match=str(status)):
        studio.call("GET", "/api/version")


@pytest.mark.parametrize("status", [408, 409, 425])
def test_what_may_be_taken_at_another_time_is_tried_again(server: Server, status: int) -> None:
    server.answers["/api/version"] = [Answer(status, b"{}")]
    with pytest.raises(StudioAway, match=str(status)):
        Studio(server.url, TOKEN).call("GET", "/api/version")


ASK: dict[str, Callable[[Studio], object]] = {
    "/api/tasks": lambda studio: list(studio.tasks(1)),
    "/api/projects/1/": lambda studio: studio.project(1),
    "/api/projects/1/model-versions/": lambda studio: studio.model_versions(1),
}


@pytest.mark.parametrize("path", ASK)
def test_an_answer_without_a_body_was_lost_and_one_of_another_shape_is_shown(server: Server, path: str) -> None:
    server.answers[path] = [Answer(200, b"")]
    with pytest.raises(StudioAway, match="without a body"):
        ASK[path](Studio(server.url, TOKEN))
    server.answers[path] = [Answer(200, b'["odd"]')]
    with pytest.raises(StudioError, match=r'"odd".*no object') as error:
        ASK[path](Studio(server.url, TOKEN))
    assert not isinstance(error.value, StudioAway)


def test_ids_and_totals_as_texts(server: Server) -> None:
    server.answers["/api/tasks"] = [body(tasks=[{"id": "7", "data": {}}], total="1")]
    assert [task.id for task in Studio(server.url, TOKEN).tasks(1)] == [7]


@pytest.mark.parametrize("row", [None, {}, {"id": None}, {"id": "x"}, 7])
def test_a_row_that_is_no_task_is_named(server: Server, row: object) -> None:
    server.answers["/api/tasks"] = [body(tasks=[row], total=1)]
    with pytest.raises(StudioError, match="a task without a number"):
        list(Studio(server.url, TOKEN).tasks(1))


def test_predictions_that_others_stored_without_a_score(server: Server) -> None:
    held = {"id": 1, "model_version": "v1-r001", "score": None, "result": None}
    server.answers["/api/tasks"] = [body(tasks=[{"id": 7, "predictions": [held]}], total=1)]
    assert list(Studio(server.url, TOKEN).predictions(1, "v1-r001")) == [(1, 7, -1.0, 0)]


def test_deleting_that_is_answered_without_a_body_is_done(server: Server) -> None:
    server.answers["/api/projects/1/model-versions/"] = [Answer(204, b"")]
    assert Studio(server.url, TOKEN).delete_predictions(1, "v1-r001") == 0


def test_a_token_with_a_newline_as_secret_files_have_it_is_stripped(server: Server) -> None:
    server.answers["/api/version"] = [body(release="1.23")]
    Studio(server.url, f" {TOKEN}\n").call("GET", "/api/version")
    assert server.asked == [("/api/version", f"Token {TOKEN}")]


@pytest.mark.parametrize(
    ("key", "said"), [("", "not set"), (" \n", "not set"), ("to ken", "blanks"), ("tök", "letters")]
)
def test_a_key_that_is_no_token_is_no_outage(key: str, said: str) -> None:
    with pytest.raises(StudioError, match=f"LABEL_STUDIO_API_KEY.*{said}") as error:
        Studio("http://127.0.0.1:9", key)
    assert not isinstance(error.value, StudioAway)


def test_an_address_that_cannot_be_asked_is_no_outage() -> None:
    with pytest.raises(StudioError, match="LABEL_STUDIO_URL 'http://host:port' cannot be asked") as error:
        Studio("http://host:port", TOKEN).call("GET", "/api/version")
    assert not isinstance(error.value, StudioAway)


def test_public_names_come_from_the_settings(settings: Settings) -> None:
    named = settings.model_copy(update={"label_studio_public_url": "https://a/ls/, http://b"})
    assert Studio.from_settings(named).addresses.public == ("https://a/ls", "http://b")


def test_tasks_are_listed_as_they_were_imported_not_with_addresses_made_for_them(server: Server) -> None:
    rows = [{"id": 4, "data": {"image": "s3://bucket/a b.png"}}]
    server.answers["/api/tasks?"] = [body(tasks=rows, total=1)]
    (task,) = Studio(server.url, TOKEN).tasks(1)
    assert task.data == {"image": "s3://bucket/a b.png"}
    assert "resolve_uri=false" in server.asked[-1][0]


def test_what_all_requests_share_exchanges_a_token_once(server: Server, settings: Settings) -> None:
    server.answers[REFRESH] = [body(access=personal("access"))]
    server.answers["/api/version"] = [body(release="1.23")]
    named = settings.model_copy(update={"label_studio_url": server.url, "label_studio_api_key": personal()})
    for _ in range(2):
        Studio.shared(named).call("GET", "/api/version")
    assert [path for path, _ in server.asked] == [REFRESH, "/api/version", "/api/version"]

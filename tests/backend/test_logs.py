"""What log lines look like, and that nothing secret is in them, in either format."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from io import StringIO

import pytest

from backend import logs
from backend.label_studio.deadline import within
from backend.redaction import guard_logs
from backend.request_id import begin, end, request_id
from backend.settings import Settings

SECRET = "redis://:hunter2@queue:6379/0 https://b.s3.amazonaws.com/a.jpg?X-Amz-Signature=1f2e3d t0p-secret"
HIDDEN = ("hunter2", "1f2e3d", "t0p-secret")


@pytest.fixture
def logged() -> Iterator[Callable[[str], tuple[logging.Logger, StringIO]]]:
    """A logger of a format, and where it writes."""
    factory, logger = logging.getLogRecordFactory(), logging.getLogger("tests.logged")
    guard_logs(["t0p-secret"])
    logger.propagate = False

    def of(kind: str) -> tuple[logging.Logger, StringIO]:
        stream = StringIO()
        handler = logging.StreamHandler(stream)
        handler.setFormatter(logs.FORMATTERS[kind]())
        logger.handlers = [handler]
        return logger, stream

    yield of
    logging.setLogRecordFactory(factory)
    end()


def test_json_is_a_line_a_record(logged: Callable[[str], tuple[logging.Logger, StringIO]]) -> None:
    log, stream = logged("json")
    log.warning("project %d\nwaits\u2028", 7)
    begin("0a1b2c3d4e5f", job="j-1")
    log.error("%s", "two", extra={"audit": {"what": "train"}, "password": "hunter2"})
    first, second = stream.getvalue().splitlines()
    said = json.loads(first)
    assert said.pop("time").endswith("Z")
    assert said.pop("process") > 0
    assert said == {"level": "WARNING", "logger": "tests.logged", "message": "project 7 waits "}
    said = json.loads(second)
    assert (said["request_id"], said["job"], said["audit"]) == ("0a1b2c3d4e5f", "j-1", {"what": "train"})
    assert "password" not in said


@pytest.mark.parametrize("kind", logs.FORMATTERS)
def test_nothing_secret_is_in_a_line(logged: Callable[[str], tuple[logging.Logger, StringIO]], kind: str) -> None:
    log, stream = logged(kind)
    log.warning("asked %s", SECRET)
    try:
        raise OSError(SECRET)
    except OSError:
        log.exception("failed")
    said = stream.getvalue()
    assert "queue:6379" in said
    assert "Traceback" in said
    assert not [word for word in HIDDEN if word in said]


def test_text_has_the_request_in_brackets(logged: Callable[[str], tuple[logging.Logger, StringIO]]) -> None:
    log, stream = logged("text")
    log.info("before")
    log.warning("without")
    begin("0a1b2c3d4e5f")
    log.warning("with")
    assert stream.getvalue().count("[") == 1
    assert "WARNING tests.logged [0a1b2c3d4e5f]: with\n" in stream.getvalue()


@pytest.mark.parametrize(
    "asked", [None, "", "short", "a" * 65, "a b c d e f g h", "abcdefgh\n", "{abcdefgh}", b"12345678"]
)
def test_an_id_that_is_not_harmless_is_replaced(asked: object) -> None:
    taken = begin(asked)
    assert taken != asked
    assert len(taken) == 32
    assert request_id() == taken
    end()
    assert request_id() == ""


@pytest.mark.parametrize("asked", ["5f0c2e64-11d2-4e7a-9f57-0d2f6a3b1c9e", "1-67891233-abcdef012345678912345678"])
def test_an_id_that_a_proxy_gives_is_taken(asked: str) -> None:
    assert begin(asked) == asked
    end()


def test_threads_of_a_request_have_its_id_and_others_have_none() -> None:
    taken = begin()
    others: list[str] = []
    thread = threading.Thread(target=lambda: others.append(request_id()))
    thread.start()
    thread.join()
    assert within(5, request_id) == taken
    assert others == [""]
    end()


@pytest.mark.usefixtures("logged")
def test_a_process_logs_as_its_settings_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)
    logs.start(Settings(_env_file=None, log_format="json", basic_auth_user="a", basic_auth_pass="t0p-secret"))
    logging.getLogger("any.library").warning("it is t0p-secret")
    assert json.loads(capsys.readouterr().err)["message"] == "it is ***"

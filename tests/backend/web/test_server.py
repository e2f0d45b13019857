"""A real `mgral serve` and a real Redis, and what strangers do to them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import requests
from waitress.adjustments import Adjustments

from backend.commands.local import LocalStack, attempts
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from backend.settings import Settings
from backend.web.access import Access
from backend.web.connections import Parser
from model.detectors.open import open_detector
from tests.backend.web.requests import CONFIG, EVENTS, connected, task
from tests.patience import AT_ONCE_SECONDS

SETUP = {"project": "1.1", "schema": CONFIG}
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    directory = Path(tempfile.mkdtemp(prefix="mgral-web-", dir="/tmp"))
    try:
        with LocalStack(directory) as stack:
            stack.label_studio_url = "http://127.0.0.1:9"
            stack.start_redis()
            settings = stack.settings()
            connected(settings, 1, 19)
            published = published_of(settings, 1)
            published.predictions("v1-r001").put([(1, "/data/upload/1/a.jpg", 0.25, [{"value": {"x": 1}}])])
            version = store_of(settings, 1).add_first(open_detector("starter"), {}).name
            published.publish(Publication("v1-r001", version, "entropy", 0))
            more = {"MAX_BODY_MB": "4", "LOG_LEVEL": "DEBUG", "IMAGE_NETWORKS": "127.0.0.1", "PREDICT_SECONDS": "2"}
            stack.start_backend(**more, PROMETHEUS_MULTIPROC_DIR=str(directory / "counts"))
            yield stack
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def quickly(stack: LocalStack) -> None:
    """What Label Studio asks first is answered, and what is known."""
    for ask in (
        lambda: requests.get(f"{stack.backend_url}/health", timeout=AT_ONCE_SECONDS),
        lambda: requests.post(f"{stack.backend_url}/setup", json=SETUP, timeout=AT_ONCE_SECONDS),
    ):
        began = time.monotonic()
        assert ask().status_code == 200
        assert time.monotonic() - began < AT_ONCE_SECONDS


@contextmanager
def connections(stack: LocalStack, count: int, sent: bytes) -> Iterator[list[socket.socket]]:
    """So many connections on which something was sent, and then nothing more."""
    with ExitStack() as ending:
        held = []
        for _ in range(count):
            held.append(ending.enter_context(socket.create_connection(("127.0.0.1", stack.backend_port), timeout=10)))
            held[-1].sendall(sent)
        yield held


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"POST /predict HTTP/1.1\r\nHost: x\r\n",
        b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
        b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk"],
)
def test_half_sent_requests_hold_nobody_up(stack: LocalStack, sent: bytes) -> None:
    with connections(stack, 60, sent):
        quickly(stack)
        answer = requests.post(
            f"{stack.backend_url}/predict", json={"tasks": [task(1)], "label_config": CONFIG}, timeout=2
        )
        assert answer.json()["results"][0]["score"] == 0.25


def test_more_connections_than_there_is_room_for_close_the_longest_silent(stack: LocalStack) -> None:
    with connections(stack, 450, b"GET /he") as held:
        quickly(stack)
        held[0].settimeout(5)
        with suppress(ConnectionResetError):
            assert held[0].recv(1) == b""


def raw(stack: LocalStack, *parts: bytes) -> tuple[int, dict]:
    """Status and JSON of the answer to bytes as they are."""
    with socket.create_connection(("127.0.0.1", stack.backend_port), timeout=20) as asking:
        for part in parts:
            asking.sendall(part)
        reply = b""
        while more := asking.recv(65536):
            reply += more
            head, _, body = reply.partition(b"\r\n\r\n")
            length = next(
                (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
            )
            if len(body) >= length > 0:
                break
    head, _, body = reply.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_a_large_body_is_answered_413_with_or_without_a_length(stack: LocalStack) -> None:
    large = requests.post(f"{stack.backend_url}/webhook", data=b"[" * 60_000_000, timeout=20)
    assert large.status_code == 413
    assert large.json()["error"].startswith("the body is larger than MAX_BODY_MB")
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    assert raw(stack, head + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 100)[0] == 413
    assert raw(stack, head + b"Content-Length: 99999999999999999999\r\n\r\n{")[0] == 413


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 300_000,
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET /%00%ff/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_one_line(stack: LocalStack, sent: bytes) -> None:
    status, said = raw(stack, sent)
    assert 400 <= status < 600
    assert "\n" not in said["error"]
    assert "waitress" not in str(said).lower()


@pytest.mark.parametrize(
    "head",
    [
        b"POST /setup HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked",
        b"POST /setup HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 0",
        b"POST /setup HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked",
        b"POST /setup HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked",
        b"POST /setup HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"POST /setup HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked",
        b"GET /versions HTTP/1.1\r\nHost: x\r\nX: a\r\n\tContent-Length: 5",
        b"GET /versions HTTP/1.1\r\nHost: localhost\r\nHost: evil.example",
        b"GET /versions HTTP/1.1",
        b"GET /versions HTTP/9.9\r\nHost: x",
        b"GET /versions",
    ],
    ids=repr,
)
def test_what_a_proxy_may_read_otherwise_is_refused_with_all_that_follows(stack: LocalStack, head: bytes) -> None:
    with socket.create_connection(("127.0.0.1", stack.backend_port), timeout=20) as asking:
        asking.sendall(head + b"\r\n\r\n0\r\n\r\nGET /versions HTTP/1.1\r\nHost: x\r\n\r\n")
        asking.shutdown(socket.SHUT_WR)
        reply = b""
        while more := asking.recv(65536):
            reply += more
    assert reply.split()[1] == b"400"
    assert b"versions" not in reply
    assert reply.count(b'{"') == 1


def test_http_1_0_needs_no_host(stack: LocalStack) -> None:
    assert raw(stack, b"GET /health HTTP/1.0\r\n\r\n") == (200, {"status": "UP", "model_class": "MgralBackend"})


def test_a_body_without_a_length_is_none(stack: LocalStack) -> None:
    head = b"POST /webhook HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
    assert raw(stack, head)[0] == 400


def test_chunks_are_read(stack: LocalStack) -> None:
    body = json.dumps(EVENTS["PROJECT_UPDATED"]).encode()
    sent = requests.post(
        f"{stack.backend_url}/webhook",
        data=iter([body[:9], body[9:]]),
        headers={"Content-Type": "application/json"},
        timeout=5,
    )
    assert sent.json() == {"ignored": "PROJECT_UPDATED"}


class SlowHost(threading.Thread):
    """Accepts connections, counts them, and never answers."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.accepted: list[socket.socket] = []
        self.image = f"http://127.0.0.1:{self.listening.getsockname()[1]}/a.jpg"

    def run(self) -> None:
        with suppress(OSError):
            while True:
                self.accepted.append(self.listening.accept()[0])


def test_hanging_images_hold_up_nobody_else(stack: LocalStack) -> None:
    host = SlowHost()
    host.start()

    def ask(first: int) -> None:
        tasks = [task(n, image=f"{host.image}?{n}") for n in range(first, first + 3)]
        body = {"tasks": tasks, "project": "1.1", "label_config": CONFIG}
        with suppress(requests.RequestException):
            requests.post(f"{stack.backend_url}/predict", json=body, timeout=50)

    asking = [threading.Thread(target=ask, args=(100 * n,), daemon=True) for n in range(1, 25)]
    for thread in asking:
        thread.start()
    assert any(host.accepted for _ in attempts(40)), "no image was asked for"
    for _ in range(5):
        quickly(stack)
    known = {"tasks": [task(1)], "project": "1.1", "label_config": CONFIG}
    assert requests.post(f"{stack.backend_url}/predict", json=known, timeout=2).json()["results"][0]["score"] == 0.25
    for held in host.accepted:
        held.close()
    host.listening.close()
    for thread in asking:
        thread.join(30)


def test_a_redis_that_hangs_is_noticed_at_once(stack: LocalStack) -> None:
    redis = stack.processes["redis"]
    os.kill(redis.pid, signal.SIGSTOP)
    try:
        for _ in range(2):
            quickly(stack)
            began = time.monotonic()
            answer = requests.post(f"{stack.backend_url}/webhook", json=EVENTS["TASKS_CREATED"], timeout=5)
            assert time.monotonic() - began < AT_ONCE_SECONDS
            assert answer.status_code == 503
            assert int(answer.headers["Retry-After"]) > 0
            assert str(stack.directory) not in answer.text
        seconds, ready = timed(stack, "/ready")
        assert seconds < AT_ONCE_SECONDS
        assert (ready.status_code, ready.json()["model_dir"], ready.json()["redis"][:4]) == (200, "ok", "away")
        took, scraped = min((timed(stack, "/metrics") for _ in range(4)), key=lambda one: one[0])
        assert took < AT_ONCE_SECONDS
        assert "\nmgral_redis_up 0.0\n" in scraped.text
    finally:
        os.kill(redis.pid, signal.SIGCONT)
    event = EVENTS["TASKS_CREATED"]
    answers = (requests.post(f"{stack.backend_url}/webhook", json=event, timeout=5) for _ in attempts(20))
    assert any(answer.status_code == 201 for answer in answers)


def timed(stack: LocalStack, path: str) -> tuple[float, requests.Response]:
    """(seconds, answer)."""
    began = time.monotonic()
    answer = requests.get(f"{stack.backend_url}{path}", timeout=5)
    return time.monotonic() - began, answer


def test_processes_count_in_files_that_whichever_is_asked_reads(stack: LocalStack) -> None:
    counted = re.compile(r'mgral_http_requests_total\{method="GET",route="/health",status="200"\} (\d+)')
    before = int(counted.search(timed(stack, "/metrics")[1].text)[1])  # type: ignore[index]
    timed(stack, "/health")
    assert int(counted.search(timed(stack, "/metrics")[1].text)[1]) == before + 1  # type: ignore[index]
    assert list((stack.directory / "counts").glob("counter_*.db"))


def test_signatures_and_passwords_of_images_stay_out_of_the_log(stack: LocalStack) -> None:
    image = "http://user:t0p-pass@127.0.0.1:1/a.jpg?X-Amz-Signature=t0p-sign&sig=t0p-sas"
    asked = {"tasks": [task(80, image=image)], "project": "1.1", "label_config": CONFIG}
    assert requests.post(f"{stack.backend_url}/predict", json=asked, timeout=40).json() == {"results": [[]]}
    said = stack.log("serve").read_text()
    assert "127.0.0.1:1" in said
    assert "a.jpg" in said
    for secret in ("t0p-pass", "t0p-sign", "t0p-sas"):
        assert secret not in said


def test_it_listens_on_this_machine_alone_and_says_so(stack: LocalStack) -> None:
    """The last test here: nothing of all that left a traceback."""
    said = stack.log("serve").read_text()
    assert f"127.0.0.1:{stack.backend_port}" in said
    assert "set BASIC_AUTH_USER and BASIC_AUTH_PASS" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("length", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize(
    ("header", "code"), [("", 401), ("Authorization: Basic dTpxCg==\r\n", 401), ("Authorization: basic dTpw\r\n", None)]
)
def test_a_large_body_of_somebody_without_the_password_is_not_read(length: str, header: str, code: int | None) -> None:
    assert answered(access(), header, length) == code


def test_guesses_in_the_heads_of_large_bodies_are_counted() -> None:
    counting, large = access(), "Content-Length: 100000"
    guess, right = "Authorization: Basic dTpxCg==\r\n", "Authorization: Basic dTpw\r\n"
    assert [answered(counting, guess, large) for _ in range(22)] == [401] * 20 + [429] * 2
    assert answered(counting, right, large) == 429  # it might be a guess
    assert answered(counting, right, large, address="192.0.2.8") is None


def access() -> Access:
    return Access(Settings(_env_file=None, basic_auth_user="u", basic_auth_pass="p"))


def answered(by: Access, header: str, length: str, address: str = "192.0.2.7") -> int | None:
    """The status of the answer to the head of a request and some of its body; None where the rest is waited for."""
    adjustments = Adjustments(max_request_body_size=10**6)
    adjustments.access = by
    parser = Parser(adjustments, address)
    parser.received(f"POST /predict HTTP/1.1\r\nHost: x\r\n{header}{length}\r\n\r\n{'x' * 100}".encode())
    assert parser.completed == (parser.error is not None)
    return getattr(parser.error, "code", None)

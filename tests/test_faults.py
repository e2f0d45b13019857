"""The proxy of the tests does what it is told, and nothing else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from tests.faults import HTML, Answer, Asked, Before, Close, FaultyProxy, Hang, Replace


class Target(BaseHTTPRequestHandler):
    """Echoes what it is sent."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(201)
        self.send_header("Echo", self.headers.get("Authorization", ""))
        self.end_headers()
        self.wfile.write(self.path.encode() + b" " + body)

    do_GET = do_POST  # noqa: N815  http.server's names

    def log_message(self, *arguments: object) -> None:
        """Be quiet."""


@pytest.fixture
def proxy() -> Iterator[FaultyProxy]:
    target = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    threading.Thread(target=target.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    with FaultyProxy(f"http://127.0.0.1:{target.server_port}") as proxy:
        yield proxy
    target.shutdown()
    target.server_close()


def test_what_no_fault_was_told_for_goes_through(proxy: FaultyProxy) -> None:
    reply = requests.post(proxy.url + "/a?b=1", data=b"c", headers={"Authorization": "Token 1"}, timeout=5)
    assert (reply.status_code, reply.headers["Echo"], reply.content) == (201, "Token 1", b"/a?b=1 c")
    assert proxy.asked == [Asked("POST", "/a?b=1", 201)]


def test_a_fault_meets_the_next_requests_of_its_kind_only(proxy: FaultyProxy) -> None:
    proxy.next(2, "GET", r"^/a$", Answer(503))
    proxy.next(1, "GET", "/a", HTML)
    asked = [
        requests.request(*what, timeout=5) for what in [("POST", proxy.url + "/a"), *[("GET", proxy.url + "/a")] * 4]
    ]
    assert [reply.status_code for reply in asked] == [201, 503, 503, 502, 201]
    assert asked[3].headers["Content-Type"] == "text/html"
    assert proxy.count("GET", "/a") == 4


def test_what_happens_before_an_answer(proxy: FaultyProxy) -> None:
    deeds: list[int] = []
    proxy.next(1, "POST", "/a", Answer(504, late=True))
    assert requests.post(proxy.url + "/a", timeout=5).status_code == 504
    proxy.next(1, "POST", "/a", Close())
    with pytest.raises(requests.ConnectionError):
        requests.post(proxy.url + "/a", timeout=5)
    proxy.next(1, "POST", "/a", Before(lambda: deeds.append(1)))
    assert requests.post(proxy.url + "/a", timeout=5).status_code == 201
    assert deeds == [1]
    proxy.next(1, "POST", "/a", Replace("n=9", "n=1"))
    assert requests.post(proxy.url + "/a?n=9", timeout=5).content == b"/a?n=1 "


def test_a_hanging_request_gets_no_answer(proxy: FaultyProxy) -> None:
    proxy.next(1, "GET", "/", Hang())
    with pytest.raises(requests.Timeout):
        requests.get(proxy.url + "/", timeout=0.3)

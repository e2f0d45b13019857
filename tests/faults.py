"""A proxy between our code and Label Studio that fails when a test says so, and remembers what was asked.

    with FaultyProxy(stack.label_studio_url) as proxy:
        proxy.next(2, "PATCH", "/api/projects/", Answer(503))
        proxy.next(1, "POST", "/import/predictions", Answer(504, late=True))
        studio = Studio(proxy.url, token)

The next two PATCHes of a project are answered 503, the next import is done, but its answer is lost.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

import requests

HOP = {"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding", "server", "date"}
"""headers of one connection: they are not passed on"""


class Asked(NamedTuple):
    """A request that came: with the query in its path, and the status that it was answered with (0: none)."""

    method: str
    path: str
    status: int


@dataclass(frozen=True)
class Answer:
    """An answer in the place of Label Studio's; `late`: Label Studio does what was asked all the same."""

    status: int
    text: str = '{"detail": "a fault of the test"}'
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    late: bool = False


@dataclass(frozen=True)
class Close:
    """The connection is closed without an answer; `late` as in `Answer`."""

    late: bool = False


class Hang:
    """No answer until the proxy closes."""


@dataclass(frozen=True)
class Before:
    """`act` is called, then the request goes through: what others do in the middle of our work."""

    act: Callable[[], object]


@dataclass(frozen=True)
class Replace:
    """`old` in the path becomes `new`, then the request goes through: a server that caps `page_size`, say."""

    old: str
    new: str


Fault = Answer | Close | Hang | Before | Replace

HTML = Answer(502, "<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html")
BUSY = Answer(429, headers={"Retry-After": "1"})


@dataclass
class _Rule:
    left: int
    method: str
    path: re.Pattern[str]
    fault: Fault


class FaultyProxy:
    """Passes everything on to `target`, but for the faults that were told to `next`. Use it as a context manager.

    Attributes:
        url: its address.
        asked: every request that has been answered, in the order of the answers.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.asked: list[Asked] = []
        self.closing = threading.Event()
        self._rules: list[_Rule] = []
        self._guard = threading.Lock()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def next(self, times: int, method: str, path: str, fault: Fault) -> None:
        """The next `times` requests of `method` whose path matches the expression `path` somewhere meet `fault`."""
        with self._guard:
            self._rules.append(_Rule(times, method, re.compile(path), fault))

    def clear(self) -> None:
        """No faults from now on."""
        with self._guard:
            self._rules.clear()

    def count(self, method: str, path: str) -> int:
        """How many such requests were answered until now."""
        return sum(asked.method == method and bool(re.search(path, asked.path)) for asked in self.asked)

    def fault(self, method: str, path: str) -> Fault | None:
        """The fault that a request meets; it is used up by asking."""
        with self._guard:
            for rule in self._rules:
                if rule.left and rule.method == method and rule.path.search(path):
                    rule.left -= 1
                    return rule.fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, proxy: FaultyProxy) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        """Answer one request, of any method."""
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = proxy.fault(self.command, self.path)
        if isinstance(fault, Hang):
            proxy.closing.wait()
            self.close_connection = True
            return
        if isinstance(fault, Before):
            fault.act()
        path = self.path.replace(fault.old, fault.new) if isinstance(fault, Replace) else self.path
        real = None
        if fault is None or isinstance(fault, Before | Replace) or fault.late:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP | {"host"}}
            real = requests.request(
                self.command, proxy.target + path, data=body, headers=headers, timeout=100, allow_redirects=False
            )
        if isinstance(fault, Close):
            proxy.asked.append(Asked(self.command, self.path, 0))
            self.close_connection = True
        elif isinstance(fault, Answer):
            kind = {"Content-Type": fault.content_type}
            self._answer(fault.status, fault.headers | kind, fault.text.encode())
        elif real is not None:
            self._answer(real.status_code, dict(real.headers), real.content)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_any  # noqa: N815  http.server's names

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.server.proxy.asked.append(Asked(self.command, self.path, status))
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Be quiet: `asked` tells it."""

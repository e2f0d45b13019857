"""A web server for tests: plays Label Studio or a foreign host, answers as told, remembers what it was asked."""

from __future__ import annotations

import io
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

TOKEN = "1" * 40
PAGE = b"<!DOCTYPE html><html><head><title>Log in</title></head><body>please</body></html>"


def png() -> bytes:
    """12 x 8 pixels."""
    out = io.BytesIO()
    Image.fromarray(np.full((8, 12, 3), 200, np.uint8)).save(out, "PNG")
    return out.getvalue()


@dataclass
class Answer:
    """What is answered; `length`: what the header says of it, where that is not true."""

    status: int = 200
    body: bytes = field(default_factory=png)
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


class Server(ThreadingHTTPServer):
    """Answers everything with a picture, except what is in `answers`: by the beginning of the path, the longest that
    fits, one answer after the other and then the last one again."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.bodies: list[bytes] = []
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self.closing, self.left = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def answer(self, path: str) -> Answer:
        """The next one for this path."""
        beginnings = [known for known in self.answers if path.startswith(known)]
        if not beginnings:
            return Answer()
        waiting = self.answers[max(beginnings, key=len)]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_GET(self) -> None:
        """Also POST: see `Server`."""
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        if "slow" in self.path:
            self._drip("slow head" not in self.path.replace("%20", " "))
            return
        answer = self.server.answer(self.path)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
        self.end_headers()
        self.wfile.write(answer.body)

    do_POST = do_DELETE = do_GET  # noqa: N815

    def _drip(self, head: bool) -> None:
        """A byte now and then, for much longer than anybody waits: of the body, or of the head already."""
        if head:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
        with suppress(OSError):
            while not self.server.closing.wait(0.1):
                self.wfile.write(b"x")
            return
        self.server.left.set()

    def log_message(self, *arguments: object) -> None:
        """Be quiet."""


@contextmanager
def running() -> Iterator[Server]:
    """A server on a port of its own."""
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()

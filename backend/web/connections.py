"""Connections: how a request is received, bounded and refused before anybody has to deal with it."""

from __future__ import annotations

import json
import logging
import socket
import time
from functools import partial
from http import HTTPStatus
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask
from waitress.utilities import BadRequest, Error

from backend.web.faults import Fault

log = logging.getLogger(__name__)

RECEIVING_SECONDS = 60  # of one request, from its first byte to its last
DRAIN_SECONDS = 10  # that a refused body is read and thrown away, so that who sends it comes to read the answer
UNASKED = 65_536  # bytes of a body that are taken before the password is looked at


class Refused(Error):
    """An answer that is given before the whole request was read."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.line)
        self.code, self.reason, self.headers = fault.status, HTTPStatus(fault.status).phrase, fault.headers

    def to_response(self, ident: str | None = None) -> tuple[str, list[tuple[str, str]], bytes]:  # noqa: ARG002
        return f"{self.code} {self.reason}", list(self.headers.items()), b""


class OneLine(ErrorTask):
    """What cannot be parsed, or is too much, is answered as every other fault: in JSON, with one line."""

    def execute(self) -> None:
        error = self.request.error
        line = " ".join(str(error.body).split())
        if error.code == 413:
            line = f"the body is larger than MAX_BODY_MB allows ({self.channel.adj.max_request_body_size:,} bytes)"
        elif error.code == 500:
            line = "an error of the backend's own; its log says more"
        body = json.dumps({"error": line}).encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers += [("Content-Type", "application/json"), *getattr(error, "headers", {}).items()]
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class Parser(HTTPRequestParser):
    """Takes no large body from somebody without the password."""

    completed: bool
    path = ""

    def __init__(self, adj: Any, address: str) -> None:
        """`address`: whose request it is."""
        super().__init__(adj)
        self.address = address

    def parse_header(self, header_plus: bytes) -> None:
        """Read a head; what a proxy before us may read otherwise is refused (RFC 9112): it would take a part of one
        request for another. Raises ParsingError."""
        super().parse_header(header_plus)
        lines = [line.partition(b":") for line in header_plus.split(b"\r\n")[1:]]
        named = [(name.lower(), value.strip()) for name, _, value in lines]
        names = [name for name, _ in named]
        lengths = [value.lower() for name, value in named if name in (b"transfer-encoding", b"content-length")]
        if self.version not in ("1.0", "1.1"):
            raise ParsingError("HTTP/1.0 and HTTP/1.1 are spoken here")
        if any(name.startswith((b" ", b"\t")) for name in names):
            raise ParsingError("a header goes over two lines")
        if names.count(b"host") > 1 or (self.version == "1.1" and b"host" not in names):
            raise ParsingError("one Host header is needed")
        if b"transfer-encoding" in names and (lengths != [b"chunked"] or self.version == "1.0"):
            raise ParsingError("the length of the body is said in more than one way")

    def received(self, data: bytes) -> int:
        """How many of the bytes belong to this request."""
        try:
            consumed = int(super().received(data))
        except Exception as error:  # noqa: BLE001  addresses that Python's own parser refuses, and what else there is
            log.info("a request that cannot be parsed: %s", error)
            self.error, self.completed = BadRequest("the request cannot be parsed"), True
            return len(data)
        large = self.content_length > UNASKED or self.chunked
        if self.headers_finished and not self.completed and large:
            try:
                self.adj.access.admit(self.headers.get("AUTHORIZATION", ""), self.address)
            except Fault as fault:
                self.error, self.completed = Refused(fault), True
        return len(data) if self.error else consumed  # what follows a refused head is no second request


class Channel(HTTPChannel):
    """One connection."""

    error_task_class = OneLine
    will_close: bool
    close_when_flushed: bool
    draining = 0.0  # until when; 0 where the connection is not being closed

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser_class = partial(Parser, address=str(self.addr[0]))
        self.waiting_since = time.monotonic()  # for a request, or the rest of one

    def received(self, data: bytes) -> bool:
        """Some bytes came."""
        if self.request is None:
            self.waiting_since = time.monotonic()
        return bool(super().received(data))

    def late(self, now: float) -> bool:
        """Whether a request began so long ago that its rest is not waited for; or the connection is being closed."""
        if self.draining:
            return now > self.draining
        return self.request is not None and now > self.waiting_since + RECEIVING_SECONDS

    def readable(self) -> bool:
        """Whether bytes are read from it now."""
        return bool(self.draining) or bool(super().readable())

    def handle_read(self) -> None:
        """Bytes are there; those of a request that was refused are thrown away."""
        if not self.draining:
            super().handle_read()
            return
        try:
            more = self.recv(self.adj.recv_bytes)
        except OSError:
            more = b""
        if not more:
            self.handle_close()

    def handle_write(self) -> None:
        """Send what waits; after the answer to a request that was not read to its end, wait for that end."""
        if self.close_when_flushed and not self.requests and not self.draining:
            self._flush_exception(self._flush_some)
            if not self.total_outbufs_len and not self.will_close:
                self.close_when_flushed = False
                self.draining = time.monotonic() + DRAIN_SECONDS
                try:
                    self.socket.shutdown(socket.SHUT_WR)
                except OSError:
                    self.will_close = True
        super().handle_write()

"""The HTTP server: gunicorn's processes, and in each waitress, which holds no thread for a request that is half sent.

What Label Studio asks before everything, /health and /setup, and events, for which annotators wait, have threads of
their own, so that they are answered while all others wait for something. Whoever connects and says nothing is
disconnected, the longest silent first.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

from backend.settings import Settings
from backend.web.app import create_app
from backend.web.connections import Channel
from backend.web.service import EXTENSION

log = logging.getLogger(__name__)

LANES = {("/", "/health"): 1, ("/setup",): 2, ("/webhook",): 4, ("/ready", "/metrics"): 1}
"""Paths whose answer all else waits for, or that are asked when all else hangs, and threads of their own."""
SWITCH_SECONDS = 0.001  # that a thread computes while others wait for their turn; an answer takes a dozen turns
CONNECTIONS = 400  # at once, or half of the files that may be open; of one more the longest silent one is closed
SILENT_SECONDS = 30  # without a byte from a connection that has no answer to wait for
ENDING_SECONDS = 8  # for what is being answered when the server is told to end; docker kills after ten


class _Lanes:
    """Threads of their own for what comes first. It is what waitress calls a dispatcher."""

    def __init__(self, threads: int) -> None:
        self.others = _lane(threads)
        self.first = {path: lane for paths, count in LANES.items() for lane in [_lane(count)] for path in paths}

    def add_task(self, channel: Channel) -> None:
        """A request is whole."""
        self.first.get(channel.requests[0].path, self.others).add_task(channel)

    def shutdown(self) -> None:
        """End the threads; what still waits is dropped."""
        for lane in {*self.first.values(), self.others}:
            lane.shutdown(timeout=1)


class _Server(TcpWSGIServer):
    """One listening socket."""

    channel_class = Channel
    room = min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)

    def maintenance(self, now: float) -> None:
        """Every second: close what is silent or late."""
        super().maintenance(now)
        for channel in self.active_channels.values():
            if channel.late(time.monotonic()):
                channel.will_close = True

    def handle_accept(self) -> None:
        """Somebody connects; where there are too many, the one goes that has been waited for the longest."""
        waited_for = [channel for channel in self.active_channels.values() if not channel.requests]
        if len(self.active_channels) >= self.room and waited_for:
            min(waited_for, key=lambda channel: channel.waiting_since).handle_close()
        super().handle_accept()


class WaitressWorker(Worker):
    """One process of gunicorn's."""

    def run(self) -> None:
        """Serve until told to end; what is being answered then is answered."""
        sys.setswitchinterval(SWITCH_SECONDS)
        sockets: dict[int, Any] = {}
        settings: Settings = self.app.settings
        adjustments = Adjustments(
            threads=settings.threads,
            channel_timeout=SILENT_SECONDS,
            cleanup_interval=1,
            connection_limit=2 * CONNECTIONS,
            max_request_body_size=settings.max_body + 1,
            recv_bytes=65_536,
            ident=None,
            clear_untrusted_proxy_headers=True,
            log_socket_errors=False,
        )
        adjustments.access = self.wsgi.extensions[EXTENSION].access  # of the application: guesses are counted together
        lanes = _Lanes(settings.threads)
        start = partial(_Server, self.wsgi, sockets, dispatcher=lanes, adj=adjustments, bind_socket=False)
        plain = [listener.sock for listener in self.sockets]
        servers = [start(_sock=s, sockinfo=(s.family, s.type, s.proto, s.getsockname())) for s in plain]
        self.wsgi.extensions["cards"].start()
        self._loop(sockets, lambda: self.alive and self.ppid == os.getppid())
        for server in servers:
            server.accepting = False
            server.del_channel(sockets)
        end = time.monotonic() + ENDING_SECONDS
        self._loop(sockets, lambda: time.monotonic() < end and any(_busy(server) for server in servers))
        lanes.shutdown()

    def _loop(self, sockets: dict[int, Any], more: Callable[[], bool]) -> None:
        while more():
            wasyncore.loop(timeout=0.5, use_poll=True, map=sockets, count=1)
            self.notify()


class _Logger(Logger):
    """Gunicorn's own lines look as all others do: LOG_FORMAT, redacted, to standard error."""

    def setup(self, cfg: Config) -> None:
        self.error_log.propagate = True
        self.error_log.setLevel(cfg.loglevel.upper())


class Application(BaseApplication):
    """What `mgral serve` runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Of gunicorn: how many processes, and when one counts as stuck."""
        host = f"[{self.settings.address}]" if ":" in self.settings.address else self.settings.address
        self.cfg.set("bind", f"{host}:{self.settings.port}")
        self.cfg.set("workers", self.settings.workers)
        self.cfg.set("worker_class", WaitressWorker)
        self.cfg.set("timeout", 120)
        self.cfg.set("graceful_timeout", ENDING_SECONDS + 5)
        self.cfg.set("control_socket_disable", True)  # it would be written into the home directory
        self.cfg.set("loglevel", self.settings.log_level.lower())
        self.cfg.set("logger_class", _Logger)

    def load(self) -> Any:
        """The WSGI application."""
        return create_app(self.settings)


def serve(settings: Settings) -> None:
    """Serve until told to end, and say to whom."""
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    atexit.register(gc.freeze)  # or each process looks through all objects of torch's before it ends, for seconds
    if line := exposure(settings):
        log.warning("%s", line)
    Application(settings).run()


def exposure(settings: Settings) -> str | None:
    """What there is to say about who can reach the server; None where a password is set."""
    if settings.basic_auth_user:
        return None
    if settings.listens_here:
        return (
            f"no password is set, so only this machine is answered ({settings.address}:{settings.port}): set "
            "BASIC_AUTH_USER and BASIC_AUTH_PASS to answer others too"
        )
    return (
        f"no password is set, and LISTEN={settings.listen}: whoever reaches port {settings.port} can start and cancel "
        "trainings and read predictions; set BASIC_AUTH_USER and BASIC_AUTH_PASS"
    )


def _lane(threads: int) -> ThreadedTaskDispatcher:
    lane = ThreadedTaskDispatcher()
    lane.set_thread_count(threads)
    return lane


def _busy(server: _Server) -> bool:
    return any(channel.requests or channel.total_outbufs_len for channel in server.active_channels.values())

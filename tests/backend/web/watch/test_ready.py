"""Ready is who can answer what is known: a Redis that is away changes nothing about it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq.utils import now

from backend.queue.enqueue import Jobs
from backend.queue.worker import worker
from backend.settings import Settings
from backend.web.app import create_app
from backend.web.watch import ready
from model.artefacts import ArtefactsAway
from model.remote import Remote
from tests.s3 import place


def test_a_new_installation_is_ready_and_says_what_it_lacks(settings: Settings) -> None:
    client = create_app(settings).test_client()
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json == {"ready": True, "model_dir": "ok", "redis": "ok", "worker": ready.NONE}
    employed = worker(Jobs(settings))
    employed.birth_date = now()
    employed.register_birth()
    assert client.get("/ready").json["worker"] == "ok"  # type: ignore[index]
    employed.register_death()


def test_it_asks_for_no_password(settings: Settings) -> None:
    closed = settings.model_copy(update={"basic_auth_user": "a", "basic_auth_pass": "b"})
    client = create_app(closed).test_client()
    assert client.get("/ready").status_code == 200
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", auth=("a", "b")).status_code == 200


def test_a_redis_that_is_away_leaves_it_ready(settings: Settings) -> None:
    alone = settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"})
    answer = create_app(alone).test_client().get("/ready")
    assert answer.status_code == 200
    assert answer.json == {"ready": True, "model_dir": "ok", "redis": ready.AWAY, "worker": "not known"}


def test_a_directory_that_cannot_be_read_does_not(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.artefacts.local.mkdir(parents=True)
    client = create_app(settings).test_client()
    assert client.get("/ready").status_code == 200

    def refuse(_: Path) -> None:
        raise PermissionError("not yours")

    monkeypatch.setattr(Path, "iterdir", refuse)  # rights would not stop whoever tests as root
    answer = client.get("/ready")
    assert answer.status_code == 503
    assert answer.json["model_dir"] == ready.UNREADABLE  # type: ignore[index]


def test_a_bucket_that_goes_away_leaves_what_was_read(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = create_app(settings.model_copy(update={"model_dir": place("memory", tmp_path)})).test_client()
    with monkeypatch.context() as away:
        away.setattr(Remote, "names", _away)
        assert client.get("/ready").status_code == 503
    assert client.get("/ready").status_code == 200
    monkeypatch.setattr(Remote, "names", _away)
    answer = client.get("/ready")
    assert answer.status_code == 200
    assert answer.json["model_dir"] == ready.REMEMBERED  # type: ignore[index]


def test_whatever_hangs_it_answers_and_asks_once_only(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, asked = threading.Event(), []

    def hang(_: Path) -> Iterator[Path]:
        asked.append(1)
        hanging.wait()
        return iter(())

    monkeypatch.setattr(ready, "SECONDS", 0.01)
    settings.artefacts.local.mkdir(parents=True)
    monkeypatch.setattr(Path, "iterdir", hang)
    client = create_app(settings).test_client()
    assert [client.get("/ready").status_code for _ in range(3)] == [503, 503, 503]
    assert len(asked) == 1
    hanging.set()


def _away(*_: object) -> list[str]:
    raise ArtefactsAway("the bucket does not answer")

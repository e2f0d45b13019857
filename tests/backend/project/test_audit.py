"""What was changed, by whom, is kept: in a directory and in a bucket, whatever hangs or is damaged."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from backend.project import audit
from backend.project.audit import Person, read, record
from backend.request_id import begin
from backend.settings import Settings
from tests.s3 import place

ALICE = Person("alice", "page", "10.0.0.7")


@pytest.fixture(params=["directory", "memory"])
def at(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a MODEL_DIR of each kind."""
    return settings.model_copy(update={"model_dir": place(request.param, tmp_path)})


def test_what_was_recorded_is_read_newest_first(at: Settings) -> None:
    request = begin()
    first = record(at, 7, "promote", ALICE, version="v0003", annotations=12, because=None)
    second = record(at, 7, "roll back", audit.of_command())
    record(at, 8, "cancel", Person("label-studio", "webhook"))
    assert read(at, 7) == [second, first]
    assert read(at, 7, limit=1) == [second]
    assert read(at, 9) == []
    assert first.details == {"version": "v0003", "annotations": 12}
    assert (first.request, first.via, second.via) == (request, "page", "command")


def test_months_are_read_as_far_as_they_are_asked_for(at: Settings) -> None:
    new = record(at, 7, "train", ALICE)
    for month in ("2026-01", "2026-02"):
        old = json.dumps(vars(new) | {"when": f"{month}-03T00:00:00+00:00"}).encode()
        at.artefacts.write(f"7/audit/{month}/{month.replace('-', '')}03T000000.000000Z-0.json", old)
    assert [event.when[:7] for event in read(at, 7)] == [new.when[:7], "2026-02", "2026-01"]
    assert [event.when[:7] for event in read(at, 7, limit=2)] == [new.when[:7], "2026-02"]


def test_an_event_is_one_line_here_and_in_the_log(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        event = record(settings, 7, "train", ALICE, job="a\nb", url="redis://:hunter2@queue/0")
    (file,) = settings.artefacts.local.glob("7/audit/*/*.json")
    line = file.read_text()
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert json.loads(line) == vars(event)
    assert event.details == {"job": "a b", "url": "redis://***@queue/0"}
    (said,) = [one for one in caplog.records if one.name == audit.__name__]
    assert vars(said)["audit"] == vars(event)
    assert "project 7: train by alice (page) job=a b" in said.getMessage()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"when": 1}', b"\xff" * 100])
def test_a_damaged_event_costs_no_other(settings: Settings, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    kept = [record(settings, 7, "train", ALICE) for _ in range(3)]
    files = sorted(settings.artefacts.local.glob("7/audit/*/*.json"))
    files[1].write_bytes(damage)
    assert read(settings, 7) == [kept[2], kept[0]]
    assert str(files[1]) in caplog.text


def test_a_directory_that_cannot_be_written_fails_no_change(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    settings.artefacts.local.mkdir(parents=True)
    (settings.artefacts.local / "7").write_text("a file where the project's directory should be")
    record(settings, 7, "cancel", ALICE)
    assert "only this log has it" in caplog.text


def test_an_answer_waits_for_no_directory_that_hangs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, ended = threading.Event(), threading.Event()

    def hang(*_: Any) -> None:
        hanging.wait()
        ended.set()

    monkeypatch.setattr(type(settings.artefacts), "write", hang)
    monkeypatch.setattr(audit, "REQUEST_SECONDS", 0.01)
    record(settings, 7, "cancel", ALICE)
    assert not ended.is_set()
    hanging.set()
    assert ended.wait(10)

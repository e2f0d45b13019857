"""Images that could not be read are tried again ever more rarely."""

from __future__ import annotations

import pytest
import redis

from backend.label_studio.client import Task
from backend.project import unreadable
from backend.project.unreadable import PAUSES, Unreadable
from backend.queue.enqueue import Jobs
from backend.settings import Settings

GONE, WELL = Task(1, {"image": "gone.jpg"}), Task(2, {"image": "well.jpg"})


class Clock:
    """Stands in for `time`: hours pass at once."""

    now = 1_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(unreadable, "time", clock)
    return clock


@pytest.fixture
def record(settings: Settings) -> Unreadable:
    return Unreadable(Jobs(settings), 1, "image")


def test_each_failure_makes_the_pause_longer(record: Unreadable, clock: Clock) -> None:
    assert record.due([GONE, WELL]) == [GONE, WELL]
    for pause in [*PAUSES, PAUSES[-1]]:
        record.note(GONE, "gone.jpg: answered 404")
        clock.now += pause - 1
        assert record.due([GONE, WELL]) == [WELL]
        clock.now += 1
        assert record.due([GONE, WELL]) == [GONE, WELL]


@pytest.mark.usefixtures("clock")
def test_a_changed_image_is_tried_at_once(record: Unreadable) -> None:
    record.note(GONE, "gone.jpg: answered 404")
    record.note(GONE, "gone.jpg: answered 404")
    better = Task(1, {"image": "there.jpg"})
    assert record.due([GONE, better]) == [better]
    record.note(better, "there.jpg: answered 404")
    (failure,) = record._known().values()
    assert (failure.times, failure.reason) == (1, "there.jpg: answered 404")


@pytest.mark.usefixtures("clock")
def test_projects_are_told_apart_and_all_is_forgotten_in_time(settings: Settings, record: Unreadable) -> None:
    record.note(GONE, "gone")
    assert Unreadable(Jobs(settings), 2, "image").due([GONE]) == [GONE]
    assert 0 < record.connection.ttl(record.key) <= unreadable.KEEP_SECONDS


def test_a_damaged_record_is_an_empty_one(record: Unreadable) -> None:
    record.connection.hset(record.key, "1", "{not json")
    record.connection.hset(record.key, "2", '{"data": 1}')
    record.connection.hset(record.key, "x", "[]")
    record.connection.hset(record.key, "1", '{"image": "a", "reason": "b", "when": "today", "times": null}')
    assert record.due([GONE, WELL]) == [GONE, WELL]
    record.note(GONE, "gone")
    assert record.due([GONE]) == []


def test_without_redis_nothing_is_noted_and_nothing_fails(settings: Settings) -> None:
    settings.redis_url = "redis://127.0.0.1:1/0"
    away = Unreadable(Jobs(settings), 1, "image")
    away.note(GONE, "gone")
    with pytest.raises(redis.RedisError):
        away.due([GONE])

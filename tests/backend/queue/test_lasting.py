"""The lock under which what is live changes: it lasts, and its loss undoes nothing."""

from __future__ import annotations

import logging

import pytest
import redis

from backend.queue.enqueue import Jobs
from backend.queue.lasting import Lasting
from backend.settings import Settings

TIMEOUT, LONGER = 2.0, 3.0  # seconds


@pytest.fixture
def jobs(settings: Settings) -> Jobs:
    return Jobs(settings)


def test_it_is_held_for_longer_than_redis_would_keep_it(jobs: Jobs) -> None:
    name = f"{jobs.queue.name}:lock"
    with jobs.connection.lock(name, timeout=TIMEOUT, thread_local=False, lock_class=Lasting):
        assert not jobs.connection.lock(name, blocking_timeout=LONGER).acquire()  # Label Studio takes its time
    assert jobs.connection.lock(name, timeout=TIMEOUT).acquire(blocking=False)


def test_its_loss_fails_nothing_that_is_done(jobs: Jobs, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), jobs.exclusive(1) as lock:
        jobs.connection.delete(lock.name)  # Redis lost its data, or evicted it
    assert "was lost while it was held" in caplog.text
    with jobs.exclusive(1):
        pass


def test_a_redis_that_goes_away_under_it_fails_nothing_either(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    with jobs.exclusive(1) as lock:
        monkeypatch.setattr(lock, "redis", redis.Redis(host="127.0.0.1", port=1))


def test_what_was_asked_for_is_asked_for_though_its_lock_was_lost(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = jobs._begin

    def loses(kind: str, project: int) -> object:
        jobs.connection.delete(jobs._key("enqueue", project))
        return begin(kind, project)

    monkeypatch.setattr(jobs, "_begin", loses)
    job, new = jobs.enqueue("train", 1)
    assert new
    assert jobs.slow.job_ids == [job.id]

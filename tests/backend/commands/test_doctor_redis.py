"""What `mgral doctor` says of Redis: that it answers, and that it keeps what it is given."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest
from redis import Redis

from backend.commands import doctor
from backend.commands.findings import Finding, find
from backend.queue.enqueue import connect
from backend.settings import Settings


def seen(settings: Settings) -> Finding:
    return find("Redis", partial(doctor._redis, settings))  # `examine` asks Label Studio first, which is away


@pytest.fixture
def connection(settings: Settings) -> Iterator[Redis]:
    connection = connect(settings)
    yield connection
    connection.config_set("maxmemory-policy", "noeviction")
    connection.config_set("maxmemory", 0)
    connection.acl_deluser("seer")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_redis_that_throws_jobs_away_when_it_is_full(settings: Settings, connection: Redis, policy: str) -> None:
    connection.config_set("maxmemory-policy", policy)
    assert seen(settings).well, "without a limit it is never full"
    connection.config_set("maxmemory", 2**30)
    finding = seen(settings)
    assert not finding.well
    assert f"(maxmemory-policy {policy})" in finding.said
    assert "--maxmemory-policy noeviction" in finding.said
    connection.config_set("maxmemory-policy", "noeviction")
    assert seen(settings).well


def test_a_redis_that_tells_nothing_of_itself_is_well_if_it_answers(settings: Settings, connection: Redis) -> None:
    connection.acl_setuser("seer", enabled=True, passwords=["+sesame"], commands=["+@all", "-info"], keys=["*"])
    settings.redis_url = settings.redis_url.replace("unix://", "unix://seer:sesame@")
    finding = seen(settings)
    assert finding.well, finding.said


def test_a_redis_that_is_away(settings: Settings) -> None:
    settings.redis_url = "unix:///nowhere/redis.sock"
    finding = seen(settings)
    assert not finding.well
    assert "does not answer" in finding.said
    assert "set REDIS_URL" in finding.said

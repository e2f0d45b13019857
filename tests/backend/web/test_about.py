"""Titles and counts come from Label Studio, and no page waits for it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from backend.commands.local import attempts
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from backend.web import about
from backend.web.about import FIELDS, About, Abouts
from tests.faults import Answer, FaultyProxy, Hang
from tests.patience import AT_ONCE_SECONDS

LIST = "/api/projects/"
MANY = 10**6


@pytest.fixture
def studio(settings: Settings) -> Iterator[FaultyProxy]:
    with FaultyProxy("http://127.0.0.1:9") as studio:
        settings.label_studio_url = studio.url
        yield studio


def listed(title: str, tasks: int, labeled: int) -> Answer:
    """As Label Studio answers where only FIELDS are asked for."""
    row = dict(zip(FIELDS.split(","), (7, title, tasks, labeled), strict=True))
    return Answer(200, json.dumps({"count": 1, "results": [row]}))


def settled(abouts: Abouts, title: str) -> About:
    """What is known once Label Studio has answered."""
    for _ in attempts(20, pause=0.01):
        if (known := abouts.of([7]).get(7)) is not None and known.title == title:
            return known
    raise AssertionError(f"{title!r} was never told")


def test_what_label_studio_tells_is_remembered_everywhere(
    settings: Settings, studio: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.next(MANY, "GET", LIST, listed("Signs", 40, 12))
    abouts = Abouts(settings, Jobs(settings))
    known = settled(abouts, "Signs")
    assert (known.tasks, known.labeled) == (40, 12)
    asked = studio.count("GET", LIST)
    assert abouts.of([7]) == {7: known}
    assert studio.count("GET", LIST) == asked  # it is fresh
    away = settings.model_copy(update={"label_studio_url": "http://127.0.0.1:9"})
    assert Abouts(away, Jobs(away)).of([7]) == {7: known}  # another process, while Label Studio is away
    monkeypatch.setattr(about, "FRESH_SECONDS", 0.0)
    studio.clear()
    studio.next(MANY, "GET", LIST, listed("Road signs", 41, 13))
    assert settled(abouts, "Road signs").tasks == 41


def test_nobody_waits_for_one_that_hangs(settings: Settings, studio: FaultyProxy) -> None:
    studio.next(MANY, "GET", LIST, Hang())
    abouts = Abouts(settings, Jobs(settings))
    start = time.monotonic()
    assert abouts.of([7, 8]) == {}
    assert abouts.of([7, 8]) == {}  # one question at a time
    assert time.monotonic() - start < AT_ONCE_SECONDS
    assert studio.count("GET", LIST) <= 1

"""Work that hangs has few places, and nobody waits for it beyond a deadline."""

from __future__ import annotations

import threading
import time

import pytest

from backend import plugin
from backend.at_once import AtOnce, BusyError
from backend.plugin import MgralBackend
from backend.project.published import Publication
from backend.project.serving import published_of
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from tests.backend.web.requests import CONFIG, task
from tests.patience import AT_ONCE_SECONDS


def test_a_place_is_free_again_when_the_work_has_ended_and_not_before() -> None:
    once, going_on = AtOnce(2), threading.Event()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            once.run(0.01, going_on.wait)
    began = time.monotonic()
    with pytest.raises(BusyError):
        once.run(10, going_on.wait)
    assert time.monotonic() - began < AT_ONCE_SECONDS
    going_on.set()
    for _ in range(100):
        try:
            assert once.run(10, lambda: 7) == 7
            break
        except BusyError:
            time.sleep(0.01)
    with pytest.raises(ZeroDivisionError):
        once.run(10, lambda: 1 // 0)
    assert once.run(10, lambda: once.run(10, lambda: 8)) == 8


@pytest.mark.parametrize("seconds", [0.05, 30.0])
def test_what_cannot_be_predicted_at_once_is_left_to_a_worker_and_the_rest_is_answered(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    monkeypatch.setattr(plugin, "get_settings", lambda: settings)
    monkeypatch.setattr(plugin, "DETECT_SECONDS", 0.0)
    settings.predict_seconds = seconds
    once, going_on = AtOnce(1), threading.Event()
    monkeypatch.setattr(plugin, "at_once", lambda _: once)
    if seconds > 1:  # the only place is taken; else the work itself takes too long
        with pytest.raises(TimeoutError):
            once.run(0.0, going_on.wait)
    published = published_of(settings, 1)
    published.predictions("v1-r001").put([(1, "/data/upload/1/a.jpg", 0.25, [])])
    published.publish(Publication("v1-r001", "v1", "entropy", 0))
    backend = MgralBackend(label_config=CONFIG, project_id="1.1")
    monkeypatch.setattr(backend, "_at_once", lambda *_: going_on.wait())
    known, late = backend.predict([task(1), task(2)])
    assert known == {"result": [], "score": 0.25, "model_version": "v1-r001"}
    assert late == []
    assert Jobs(settings).active("predict", 1) is not None
    going_on.set()

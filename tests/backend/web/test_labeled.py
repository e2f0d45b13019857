"""Label Studio is asked which tasks are labeled: a page waits half a second for it, and not again while it is away."""

from __future__ import annotations

import threading

from backend.settings import Settings
from backend.web.service import ASKERS, Service


def test_label_studio_that_is_away_is_not_asked_again_at_once(settings: Settings) -> None:
    service = Service(settings)
    assert service.labeled_among(1, [1, 2]) is None
    assert service.silent_until > 0
    assert service.labeled_among(1, []) == set()


def test_pages_that_ask_at_the_same_time_silence_nobody(settings: Settings) -> None:
    service, done = Service(settings), threading.Event()
    started = [threading.Event() for _ in range(ASKERS)]

    def hold(mine: threading.Event) -> None:
        mine.set()
        done.wait(60)

    askers = [threading.Thread(target=service.asking.run, args=(60, lambda mine=mine: hold(mine))) for mine in started]
    for asker in askers:
        asker.start()
    for mine in started:
        assert mine.wait(60)
    try:
        assert service.labeled_among(1, [1, 2]) is None
        assert service.silent_until == 0
    finally:
        done.set()
        for asker in askers:
            asker.join()

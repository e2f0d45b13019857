"""Detectors in memory: each loaded once, none waits for another's file, no more than are allowed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import cast

import pytest

from model.detectors.base import Detector, WeightsError
from model.detectors.held import Detectors

ONE, OTHER, THIRD = Path("1/versions/v1"), Path("2/versions/v1"), Path("3/versions/v1")


def detector() -> Detector:
    return cast(Detector, object())


def test_many_threads_load_a_file_once() -> None:
    detectors, loaded, together = Detectors(), list[Detector](), threading.Barrier(8, timeout=10)
    got: list[Detector] = []

    def load() -> Detector:
        loaded.append(detector())
        return loaded[-1]

    def use() -> None:
        together.wait()
        got.append(detectors.get(ONE, load, 2))

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(loaded) == 1
    assert got == loaded * 8


def test_a_file_that_takes_long_holds_up_no_other() -> None:
    detectors, begun, go_on = Detectors(), threading.Event(), threading.Event()

    def slowly() -> Detector:
        begun.set()
        assert go_on.wait(10)
        return detector()

    slow = threading.Thread(target=detectors.get, args=(ONE, slowly, 2))
    slow.start()
    assert begun.wait(10)
    other = detectors.get(OTHER, detector, 2)
    assert detectors.get(OTHER, detector, 2) is other
    go_on.set()
    slow.join(10)


def test_what_was_used_longest_ago_makes_room() -> None:
    detectors = Detectors()
    one, other = detectors.get(ONE, detector, 2), detectors.get(OTHER, detector, 2)
    assert detectors.get(ONE, detector, 2) is one
    detectors.get(THIRD, detector, 2)
    assert detectors.get(ONE, detector, 2) is one
    assert detectors.get(OTHER, detector, 2) is not other


def test_a_file_that_cannot_be_opened_may_be_mended() -> None:
    detectors = Detectors()

    def broken() -> Detector:
        raise WeightsError("no such file")

    for _ in range(2):
        with pytest.raises(WeightsError):
            detectors.get(ONE, broken, 2)
    assert detectors.get(ONE, detector, 2)

"""The detectors in memory: of each file loaded once, by whoever needs it first; the others of that file wait for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from model.detectors.base import Detector


class Detectors:
    """Detectors by the place of their version; the one that was used longest ago makes room for a new one."""

    def __init__(self) -> None:
        self._held: OrderedDict[Path, Detector] = OrderedDict()
        self._loading: dict[Path, threading.Lock] = {}
        self._guard = threading.Lock()  # held for moments only: never while a file is read

    def get(self, place: Path, load: Callable[[], Detector], most: int) -> Detector:
        """The detector of a place, from `load` where it is not held; afterwards no more than `most` are."""
        with self._guard:
            if place in self._held:
                self._held.move_to_end(place)
                return self._held[place]
            lock = self._loading.setdefault(place, threading.Lock())
        with lock:
            try:
                with self._guard:
                    if place in self._held:  # another thread has loaded it meanwhile
                        return self._held[place]
                detector = load()
                with self._guard:
                    self._held[place] = detector
                    while len(self._held) > most:
                        self._held.popitem(last=False)
                return detector
            finally:
                with self._guard:
                    self._loading.pop(place, None)

    def clear(self) -> None:
        """Hold none any more."""
        with self._guard:
            self._held.clear()

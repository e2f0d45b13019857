"""Work of a request that may hang: images that are fetched, weights that are loaded. Few at a time, none for ever.

A server has few threads. Where half of them do such work, the others answer what is known; and who waits for it waits
until a deadline, also where the work itself cannot be interrupted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

from backend.label_studio.deadline import within

T = TypeVar("T")


class BusyError(RuntimeError):
    """As much such work as may be done at a time is being done already."""


class AtOnce:
    """Places for work; one is free again when the work has ended, even if nobody waited for that."""

    def __init__(self, places: int) -> None:
        self.places = threading.BoundedSemaphore(places)

    def run(self, seconds: float, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Raises BusyError at once, TimeoutError after so many seconds."""
        if not self.places.acquire(blocking=False):
            raise BusyError

        def do() -> T:
            try:
                return work()
            finally:
                self.places.release()

        return within(seconds, do)


@lru_cache(maxsize=1)
def at_once(threads: int) -> AtOnce:
    """The process's, of a server with so many threads."""
    return AtOnce(max(1, threads // 2))

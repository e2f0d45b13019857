"""Something that is done again and again beside the work, such as renewing a lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def every(seconds: float, do: Callable[[], None]) -> Iterator[None]:
    """Call `do`, which must not raise, every so many seconds in a thread of its own, until the block is left."""
    ended = threading.Event()

    def again() -> None:
        while not ended.wait(seconds):
            do()

    thread = threading.Thread(target=again, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()

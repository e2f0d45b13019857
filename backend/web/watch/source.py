"""Something that is asked in the background, because it may hang, while whoever wants it waits for a moment only."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")


class Source(Generic[T]):
    """One question at a time: while one hangs no other is asked, so that no threads pile up."""

    def __init__(self, what: str, ask: Callable[[], T]) -> None:
        """`what`: its name in the log; `ask`: may hang and raise OSError, ValueError, redis.RedisError."""
        self.what, self.ask = what, ask
        self.last: T | None = None
        self.answered = -float("inf")
        self._lock = threading.Lock()
        self._asked: Future[T] | None = None
        self._failing = False

    def begin(self) -> Future[T]:
        """Ask, unless an earlier question has no answer yet."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                threading.Thread(target=self._answer, args=(self._asked,), daemon=True, name=self.what).start()
            return self._asked

    def fresh(self, asked: Future[T], until: float) -> T | None:
        """The answer to a question, if it is there by `until` (`time.monotonic`), else None."""
        wait([asked], max(0.0, until - time.monotonic()))
        return asked.result() if asked.done() and asked.exception() is None else None

    def age(self) -> float:
        """Seconds since the last answer; infinity where there never was one."""
        return time.monotonic() - self.answered

    def _answer(self, asked: Future[T]) -> None:
        try:
            self.last = answer = self.ask()
        except Exception as error:  # noqa: BLE001  whoever asks sees that there is no answer
            if not self._failing:  # it is asked again and again
                log.warning("%s: %s", self.what, error)
            self._failing = True
            asked.set_exception(error)
        else:
            self.answered, self._failing = time.monotonic(), False
            asked.set_result(answer)

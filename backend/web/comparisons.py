"""Comparisons of versions: seconds of work each, so they are made in the background, one at a time, and kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

from backend.at_once import BusyError

T = TypeVar("T")

MOST = 200  # that are kept
MOST_WAITING = 8


class Comparisons(Generic[T]):
    """Of one process. What is compared never changes, so that a result is good for ever."""

    def __init__(self) -> None:
        self.kept: OrderedDict[Hashable, Future[T]] = OrderedDict()
        self.changing, self.working = threading.Lock(), threading.Lock()

    def get(self, key: Hashable, work: Callable[[], T], seconds: float) -> T:
        """What `work` returned or raised, now or when it was asked for before.

        Raises TimeoutError where it takes longer: it goes on, and whoever asks again gets it. Raises BusyError where
        too many wait.
        """
        with self.changing:
            future = self.kept.get(key)
            if future is None:
                if sum(not held.done() for held in self.kept.values()) >= MOST_WAITING:
                    raise BusyError
                future = self.kept[key] = Future()
                threading.Thread(target=self._do, args=(future, work), daemon=True).start()
                while len(self.kept) > MOST:
                    self.kept.popitem(last=False)
            self.kept.move_to_end(key)
        try:
            return future.result(seconds)
        except BaseException:
            if future.done():  # it failed: tried again where somebody asks again
                with self.changing:
                    self.kept.pop(key, None)
            raise

    def _do(self, future: Future[T], work: Callable[[], T]) -> None:
        with self.working:
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001  raised again where it is asked for
                future.set_exception(error)

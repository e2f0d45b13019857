"""A lock in Redis that lasts as long as the work under it."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

import redis
from redis.exceptions import LockError
from redis.lock import Lock

log = logging.getLogger(__name__)

RENEWALS = 3  # in the seconds after which Redis would free the lock


class Lasting(Lock):
    """Redis frees a lock after `timeout`, so that one whose holder died keeps nobody; a `with` renews it until it ends.

    Where it is lost all the same, because Redis lost its data or is away, what was done under it stays done.
    """

    def __enter__(self) -> Self:
        super().__enter__()
        self.ended = threading.Event()
        threading.Thread(target=self._renew, args=(self.ended,), daemon=True, name="lock").start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.ended.set()
        try:
            super().__exit__(kind, error, traceback)
        except redis.RedisError as lost:
            log.warning("the lock %s was lost while it was held: %s", self.name, lost)

    def _renew(self, ended: threading.Event) -> None:
        assert self.timeout is not None
        while not ended.wait(self.timeout / RENEWALS):
            try:
                self.reacquire()
            except LockError:  # lost, or just freed
                return
            except redis.RedisError as error:
                log.warning("the lock %s was not renewed: %s", self.name, error)

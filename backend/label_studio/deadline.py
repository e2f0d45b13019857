"""How long is waited: for work that cannot be interrupted from inside, because a request's own timeouts are between two
bytes only, and for a server that asks to be asked later."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import TypeVar

from urllib3.exceptions import InvalidHeader
from urllib3.util.retry import Retry

T = TypeVar("T")


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises, or TimeoutError after so many seconds; it is left alone in its thread then.

    It runs in a copy of the caller's context: its log lines bear the same request id.
    """
    outcome: Future[T] = Future()

    def do() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            outcome.set_exception(error)

    # a daemon, because an executor's threads would be waited for at the end
    threading.Thread(target=copy_context().run, args=(do,), daemon=True).start()
    return outcome.result(seconds)


class Patient(Retry):
    """Waits for a moment also where a server does not say for how long in a way that anybody understands."""

    def parse_retry_after(self, retry_after: str) -> float:
        """Seconds."""
        try:
            return super().parse_retry_after(retry_after)
        except InvalidHeader:
            return 0.0

"""Which requests have threads of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backend.web.server import _Lanes


def whole(path: str, work: Callable[[], Any]) -> Any:
    """A connection whose request is whole."""
    return cast(Any, SimpleNamespace(requests=[SimpleNamespace(path=path)], service=work))


@pytest.mark.parametrize("path", ["/health", "/setup", "/webhook", "/metrics"])
def test_what_others_wait_for_is_answered_while_all_other_threads_wait(path: str) -> None:
    lanes, begun, answered, free = _Lanes(1), threading.Event(), threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        free.wait()

    try:
        lanes.add_task(whole("/predict", wait))
        assert begun.wait(10)
        lanes.add_task(whole(path, answered.set))
        assert answered.wait(10)
    finally:
        free.set()
        lanes.shutdown()

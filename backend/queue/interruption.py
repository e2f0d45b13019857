"""A worker that is told to stop asks its job to hand itself back: the job's process gets a signal, and looks."""

from __future__ import annotations

import signal
import threading

SIGNAL = signal.SIGUSR1

_asked = threading.Event()


def listen() -> None:
    """From now on remember the signal; called in a job's process, in its main thread."""
    _asked.clear()
    signal.signal(SIGNAL, lambda *_: _asked.set())


def asked() -> bool:
    """Whether this process was asked to hand its job back."""
    return _asked.is_set()

"""What a process asks of the system: that its children end with it, and takes back what it has freed."""

from __future__ import annotations

import ctypes
import os
import signal
import sys


def end_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Called in a child of the process `parent`: the system sends it the signal `by` when that is gone.

    Otherwise the child of a killed process works on unseen. On systems other than Linux nothing is done.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL("libc.so.6").prctl(1, by)  # PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it was gone before this was asked for
        os.kill(os.getpid(), by)


def give_back() -> None:
    """Let the system have the memory that this process has freed. It takes milliseconds, but what is then used again
    has to be asked for again: so after a part of the work, not within it. Without glibc nothing is done."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)

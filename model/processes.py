"""Child processes that end with their parent."""

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

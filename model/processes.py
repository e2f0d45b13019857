"""Child processes that end with their parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys


def end_with_parent() -> None:
    """Called in a child: the system kills it when the process that started it is gone.

    Otherwise the child of a killed process works on unseen. On systems other than Linux nothing is done.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL("libc.so.6").prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid != os.getppid():  # it was gone before this was asked for
        os.kill(os.getpid(), signal.SIGKILL)

"""The counts of all processes of `mgral serve`, for whichever of them is asked: each writes its own into a file.

prometheus_client decides when it is loaded whether it counts in files, so nothing of it is loaded here before.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Metric

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


@contextmanager
def counts_in_files() -> Iterator[Path]:
    """A directory for the counts, empty at first: a new one, or what the variable names, which is then kept.

    Enter it before prometheus_client is loaded, and before processes are forked.
    """
    owner, given = os.getpid(), os.environ.get(VARIABLE)
    directory = Path(given or tempfile.mkdtemp(prefix="mgral-metrics-"))
    directory.mkdir(parents=True, exist_ok=True)
    for file in directory.glob("*.db"):  # of an earlier start
        file.unlink()
    os.environ[VARIABLE] = str(directory)
    try:
        yield directory
    finally:
        if not given and os.getpid() == owner:  # and not in what was forked
            shutil.rmtree(directory, ignore_errors=True)


def counted() -> Iterable[Metric]:
    """What the processes have counted together; of one that counts in memory, its own."""
    if VARIABLE in os.environ:
        from prometheus_client.multiprocess import MultiProcessCollector

        return MultiProcessCollector(None, os.environ[VARIABLE]).collect()
    from backend.counters import COUNTED

    return COUNTED.collect()

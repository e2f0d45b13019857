"""A child whose parent is killed must not work on; memory that was freed goes back to the system."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backend.commands.local import attempts
from model.processes import give_back

PARENT = """
import multiprocessing, os, sys, time
from model.processes import end_with_parent

def child(parent):
    end_with_parent(parent)
    print("ready", flush=True)
    time.sleep(600)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child, args=(int(sys.argv[1]) or os.getpid(),))
    process.start()
    print(process.pid, flush=True)
    process.join()
"""


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": "."}
    with subprocess.Popen(
        [sys.executable, str(script), "0"], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert parent.stdout.readline() == "ready\n"
        parent.send_signal(signal.SIGKILL)
    for _ in attempts(20):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":  # it is dead, and nobody here collects it
            return
    raise AssertionError(f"process {child} outlived its parent")


def test_a_child_whose_parent_was_gone_already_ends_at_once(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = {**os.environ, "PYTHONPATH": "."}
    another = str(os.getpid())  # as after being handed to another process
    process = subprocess.run(
        [sys.executable, str(script), another], capture_output=True, text=True, env=environment, check=True
    )
    assert "ready" not in process.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_was_freed_is_given_back() -> None:
    blocks = [bytearray(b"x") * 100_000 for _ in range(600)]  # 60 MB, too small for the C library to map each
    last = blocks[-1]  # so that it cannot do so by itself
    blocks.clear()
    before = resident()
    give_back()
    assert before - resident() > 30e6
    assert len(last) == 100_000


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

"""Ending the demo: by Ctrl-C, by `kill`, and in the background of a shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend.commands.demo import labeled
from backend.commands.local import StartError, attempts, find_label_studio
from tests.model.data.exported import label_studio_yolo

Start = Callable[..., subprocess.Popen[str]]


def _ignore_interrupts() -> None:
    """As a shell does to the jobs in its background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `mgral demo`, with its files below `tmp_path`; returns once it has started Redis."""
    try:
        find_label_studio()
    except StartError as error:
        pytest.skip(str(error))
    started: list[subprocess.Popen[str]] = []
    short = Path("/tmp") / f"mgral-{os.getpid()}"  # a Unix socket's path must be short
    short.symlink_to(tmp_path)

    def demo(*arguments: str, background: bool = False) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.cli", "demo", *arguments],
            env=os.environ | {"TMPDIR": str(short)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_ignore_interrupts if background else None,  # noqa: PLW1509  one call
        )
        started.append(process)
        for _ in attempts(60):
            if any(log.stat().st_size for log in tmp_path.glob("mgral-demo-*/label-studio.log")):  # it runs
                return process
            assert process.poll() is None, process.communicate()[0]
        raise AssertionError("the demo started no Label Studio within a minute")

    yield demo
    short.unlink()
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("number", "arguments", "background", "status"),
    [
        (signal.SIGINT, [], True, 0),
        (signal.SIGTERM, [], False, 0),
        (signal.SIGTERM, ["--check"], True, 143),
    ],
)
def test_a_signal_ends_the_demo_and_leaves_nothing_behind(
    start: Start, tmp_path: Path, number: int, arguments: list[str], background: bool, status: int
) -> None:
    process = start(*arguments, background=background)
    children = _children(process.pid)
    assert children
    process.send_signal(number)
    said, _ = process.communicate(timeout=40)
    assert process.returncode == status, said
    assert said.strip().splitlines()[-1] == "ended"
    assert list(tmp_path.iterdir()) == []
    for _ in attempts(10):
        if not any(Path(f"/proc/{child}").exists() for child in children):
            return
    raise AssertionError("a process was left behind")


def test_the_demo_reads_what_every_command_reads_and_says_what_it_left_out(tmp_path: Path) -> None:
    label_studio_yolo(tmp_path)
    (tmp_path / "labels" / "p04.txt").unlink()
    said: list[str] = []
    dataset = labeled(tmp_path, said.append)
    assert len(dataset) == 9
    assert "1 of 10 images have no label file and are left out" in said[0]
    assert "9 images, 1 of them without an object" in said[1]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

"""What others wrote is shown at a prompt and does nothing there: no control character, no markup of our own tables."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from backend.commands.plain import plain
from backend.commands.watch import table, watch
from backend.queue.enqueue import Jobs
from backend.settings import Settings

ROW = {
    "project": 3,
    "kind": "train",
    "index": None,
    "status": "failed",
    "stage": "fetch",
    "share": 0.5,
    "seconds_left": None,
    "worker": None,
}
WRITTEN = "task 5: [/red] \x1b]0;owned\x07\x1b[2J no width [bold]"
SHOWN = r"task 5: [/red] \x1b]0;owned\x07\x1b[2J no width [bold]"


def console() -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=200, force_terminal=False), out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x9b2J", r"\x1b[31mred\x9b2J"),
        ("over\rwritten\x7f", r"over\rwritten\x7f"),
        ("photo\u202egpj.exe", r"photo\u202egpj.exe"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("Straße, 交通标志, نص, می‌خواهم, 👩‍🔧, \xa0", "Straße, 交通标志, نص, می‌خواهم, 👩‍🔧, \xa0"),
    ],
)
def test_control_characters_are_written_out(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_an_error_in_a_table_is_told_as_it_is() -> None:
    terminal, out = console()
    terminal.print(table([ROW | {"error": WRITTEN}]))
    assert SHOWN in out.getvalue()


def test_the_lines_of_a_watched_job_are_told_as_they_are(settings: Settings) -> None:
    job, _ = Jobs(settings).enqueue("train", 3)
    job.meta |= {"log": [[0.0, WRITTEN]], "stage": "[/fetch]"}
    job.save_meta()
    job.cancel()
    terminal, out = console()
    error = watch(job, terminal)
    assert error is not None
    assert "canceled" in error
    assert SHOWN in out.getvalue()
    assert "[/fetch] ..." in out.getvalue()

"""Watching a job at a prompt: a bar a stage, the lines it says, how it ended."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rq.job import Job

from backend.queue import describe

ENDED = {"finished", "failed", "stopped", "canceled", "gone"}


def watch(job: Job, console: Console | None = None) -> str | None:
    """Show a job until it ends; returns None when it finished, else the line that says why not."""
    console = console or Console()
    plain = not console.is_terminal
    said, stage, task = 0, "", None
    columns = (
        TextColumn("{task.description:28}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=console, disable=plain) as bars:
        while True:
            now = describe(job)
            for line in now["log"][said:]:
                console.print(line, highlight=False)
            said = len(now["log"])
            if now["stage"] not in (stage, "done"):
                stage = now["stage"]
                if task is not None:
                    bars.update(task, completed=bars.tasks[task].total)
                task = bars.add_task(stage, total=None, figures="")
                if plain:
                    console.print(f"{stage} ...", highlight=False)
            if task is not None and now["total"]:
                figures = "  ".join(f"{name} {value:.3f}" for name, value in now["figures"].items())
                bars.update(task, completed=now["done"], total=now["total"], figures=figures)
            if now["status"] in ENDED:
                if task is not None:
                    bars.update(task, completed=bars.tasks[task].total)
                break
            time.sleep(0.3)
    if now["status"] == "finished":
        return None
    return now["error"] or f"job {job.id} was {now['status']}; the worker's log says more"

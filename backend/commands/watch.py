"""Jobs at a prompt: one that is watched, with a bar a stage and the lines it says, and a table of all."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text
from rq import Queue
from rq.job import Job

from backend.commands.plain import plain
from backend.queue.enqueue import Jobs
from backend.queue.job import Json, MgralJob
from backend.queue.progress import describe

RECENT = 20  # ended jobs in a listing
ORDER = ["started", "queued", "scheduled"]
ENDED = {"finished", "failed", "stopped", "canceled", "gone"}


def watch(job: Job, console: Console | None = None) -> str | None:
    """Show a job until it ends; returns None when it finished, else the line that says why not."""
    console = console or Console()
    piped = not console.is_terminal
    said, stage, task = 0, "", None
    columns = (
        TextColumn("{task.description:28}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    now: dict[str, Any] = {}
    with Progress(*columns, console=console, disable=piped) as bars:
        for now in follow(job):
            for line in now["log"][said:]:
                console.print(plain(line), markup=False, highlight=False)
            said = len(now["log"])
            if now["stage"] not in (stage, "done"):
                stage = now["stage"]
                if task is not None:
                    bars.update(task, completed=bars.tasks[task].total)
                task = bars.add_task(stage, total=None, figures="")
                if piped:
                    console.print(f"{stage} ...", markup=False, highlight=False)
            if task is not None and now["total"]:
                figures = "  ".join(f"{name} {value:.3f}" for name, value in now["figures"].items())
                bars.update(task, completed=now["done"], total=now["total"], figures=figures)
        if task is not None:
            bars.update(task, completed=bars.tasks[task].total)
    return fault(job, now)


def follow(job: Job) -> Iterator[dict[str, Any]]:
    """What `describe` tells of a job, several times a second, until it has ended."""
    while True:
        now = describe(job)
        yield now
        if now["status"] in ENDED:
            return
        time.sleep(0.3)


def fault(job: Job, now: dict[str, Any]) -> str | None:
    """None for a job that finished, else the line that says why it did not."""
    if now["status"] == "finished":
        return None
    return now["error"] or f"job {job.id} was {now['status']}; the worker's log says more"


def listing(jobs: Jobs, project: int | None) -> list[dict[str, Any]]:
    """What runs, what waits and the RECENT that ended last, as `describe` tells it; of one project or of all.

    The head of a cycle stands for the cycle; the jobs that the cycle consists of are listed too.
    """
    ids = [name for queue in jobs.queues for name in _ids(queue)]
    fetched = MgralJob.fetch_many(dict.fromkeys(ids), connection=jobs.connection, serializer=Json)
    heads = {job.meta["head"] for job in fetched if job is not None and "head" in job.meta} - set(ids)
    fetched += MgralJob.fetch_many(heads, connection=jobs.connection, serializer=Json)
    listed = [
        job for job in fetched if job is not None and "kind" in job.meta and project in (None, job.meta["project"])
    ]
    rows = {job: describe(job) for job in listed}
    active = [job for job in listed if rows[job]["status"] not in ENDED]
    ended = sorted((job for job in listed if rows[job]["status"] in ENDED), key=_last_seen, reverse=True)
    active.sort(key=lambda job: _place(job, rows[job]["status"]))
    return [rows[job] for job in [*active, *ended[:RECENT]]]


def table(rows: Iterable[dict[str, Any]]) -> Table:
    """A listing for people."""
    out = Table("project", "kind", "status", "stage", "done", "left", "worker", "error", box=None, pad_edge=False)
    for row in rows:
        kind = row["kind"] if row["index"] is None else f"{row['kind']} {row['index']}"
        left = "" if row["seconds_left"] is None else f"{row['seconds_left']} s"
        share = f"{row['share']:.0%}"
        worker = (row["worker"] or "")[:8]
        error = Text(plain(row["error"] or ""))  # as a string, what stands in brackets would be markup
        out.add_row(str(row["project"]), kind, row["status"], row["stage"], share, left, worker, error)
    return out


def _ids(queue: Queue) -> Sequence[str]:
    started = queue.started_job_registry.get_job_ids(cleanup=False)
    waiting = (queue.scheduled_job_registry, queue.deferred_job_registry, queue.ready_job_registry)
    later = [name for registry in waiting for name in registry.get_job_ids(cleanup=False)]
    ended = (queue.finished_job_registry, queue.failed_job_registry, queue.canceled_job_registry)
    newest = [name for registry in ended for name in registry.get_job_ids(-RECENT, -1, cleanup=False)]
    return [*started, *queue.job_ids, *later, *newest]


def _place(job: Job, status: str) -> tuple:
    """A project's cycle first, what it consists of below it, what runs before what waits."""
    place = ORDER.index(status) if status in ORDER else len(ORDER)
    return job.meta["project"], "head" in job.meta, place, job.created_at, job.meta.get("index", -1)


def _last_seen(job: Job) -> float:
    return (job.ended_at or job.last_heartbeat or job.created_at).timestamp()

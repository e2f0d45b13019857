"""How soon does another worker go on with the job of a worker that was killed?

    python -m bench.takeover              # five minutes, in which little is computed

A real installation with two workers. The one that runs a job is killed with SIGKILL, with all of its processes; the
time counts from there until the other one has begun the job. Three times in a training, then three times in a variant.
The other worker is idle: one that has work of its own ends that first. The pictures are tiny, because only the waiting
counts. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from statistics import median

from rq import Worker
from rq.job import Job, JobStatus

from backend.commands.local import attempts
from backend.queue.graph import Graph
from backend.queue.job import part_of
from bench.installation import BenchError, Installation, installation, say
from model.synthetic.scenes import write_scenes

TASKS, LABELED = 40, 30
TIMES = 3  # a job is repeated no more often whose process died: `backend.queue.enqueue.DEATHS`
PATIENCE = 120.0
TINY = {
    "WEIGHTS": "starter",
    "IMAGE_SIZE": "64",
    "BATCH": "4",
    "BUDGET": "5",
    "MGRAL_MEASURE": "always",
    "MGRAL_HINDSIGHT": "2",
    "MGRAL_TIME_BUDGET": "1e9",
    "OMP_NUM_THREADS": "1",
}
LONG = "100000"  # updates: more than are done before the next kill
SETTINGS = {
    "train": {"TRAIN_EPOCHS": "1", "TRAIN_MIN_STEPS": LONG},
    "variant": {"TRAIN_EPOCHS": "1", "TRAIN_MIN_STEPS": "10", "MGRAL_STEPS": LONG},
}


def takeovers(bench: Installation, project: int, part: str) -> list[float]:
    """Seconds of each takeover of a job that calls `part`, in a cycle that is begun for it and cancelled at the end."""
    names = [f"{part}-{number}" for number in range(TIMES + 1)]
    bench.start_worker(names[0], **SETTINGS[part])
    bench.jobs.enqueue("train", project)
    seconds = []
    for spare in names[1:]:
        bench.start_worker(spare, **SETTINGS[part])
        seconds.append(takeover(bench, project, part))
        say(f"{part}: begun again after {seconds[-1]:.1f} s")
    bench.jobs.cancel(project)
    for name in [name for name in names if name in bench.stack.processes]:
        bench.stack.stop(name)
    return seconds


def takeover(bench: Installation, project: int, part: str) -> float:
    """Kill the worker that runs a job which calls `part`; the seconds until another has begun that job."""
    job = _running(bench, project, part)
    killed = job.worker_name
    (pid,) = [worker.pid for worker in Worker.all(connection=bench.jobs.connection) if worker.name == killed]
    (name,) = [name for name, process in bench.stack.processes.items() if process.pid == pid]
    start = time.monotonic()
    bench.stack.stop(name, kill=True)
    again = _running(bench, project, part, but=killed)
    if again.id != job.id:
        raise BenchError(f"the job {job.id} was given up: {again.id} runs in its place")
    return time.monotonic() - start


def _running(bench: Installation, project: int, part: str, but: str | None = None) -> Job:
    """The job of the project's cycle that calls `part`, as soon as a worker other than `but` runs it."""
    for _ in attempts(PATIENCE, pause=0.02):
        if (head := bench.jobs.head(project)) is None:
            raise BenchError(f"the cycle of project {project} ended before a {part} of it was killed")
        for job in Graph.of(head).jobs():
            running = job.get_status(refresh=False) == JobStatus.STARTED and job.worker_name not in (None, but)
            if part_of(job) == part and running:
                return job
    raise BenchError(f"no other worker ran the {part} of project {project} within {PATIENCE:.0f} s")


def main(arguments: Sequence[str] | None = None) -> None:
    argparse.ArgumentParser(prog="python -m bench.takeover", description=__doc__.splitlines()[0]).parse_args(arguments)
    with installation(**TINY) as bench:
        bench.start_worker("first")
        truth = write_scenes(bench.stack.directory / "scenes", TASKS, seed=0)
        project, annotator = bench.project("takeover", truth)
        bench.ended("rank", project)
        bench.stack.stop("first")
        for task in sorted(annotator.by_task)[:LABELED]:
            annotator.label(task)
        seconds = {part: takeovers(bench, project, part) for part in SETTINGS}
    print(json.dumps({part: {"median": median(each), "all": each} for part, each in seconds.items()}))


if __name__ == "__main__":
    main()

"""How long is a whole cycle, beside the retraining that it contains, with one worker and with two?

    python -m bench.cycle                 # ten minutes on two cores
    python -m bench.cycle --data DIR      # a labeled COCO directory instead of procedural scenes

For each number of workers a real installation is started (Label Studio, Redis, backend, workers), 40 of 120 tasks are
labeled, and "Start training" is pressed at default settings but for the demo's image size, updates and weights. The
retrain is the cycle's own stage "train"; the cycle is everything from the press to the live order. A worker computes on
half of the cores. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from backend.commands.annotator import Annotator
from backend.commands.demo import LABELED, MOST_TASKS, TASKS, TRAINING
from backend.commands.local import LocalStack, attempts
from backend.label_studio.client import Studio
from backend.project.connect import connect
from backend.project.serving import store_of
from backend.queue.enqueue import Jobs
from backend.queue.progress import describe
from model.data.dataset import Dataset
from model.synthetic.scenes import write_scenes


def cycle(workers: int, data: Path | None, tasks: int, labeled: int) -> dict:
    """Seconds of a cycle and of its stages, and how many variants it trained."""
    directory = Path(tempfile.mkdtemp(prefix="mgral-bench-"))
    try:
        with LocalStack(directory) as installation:
            installation.start_redis()
            installation.start_label_studio()
            installation.start_backend(**TRAINING)
            for number in range(workers):
                installation.start_worker(f"work-{number}", **TRAINING)
            installation.wait_for_label_studio()
            truth = write_scenes(directory / "scenes", tasks, seed=0) if data is None else _coco(data, tasks)
            settings = installation.settings(**TRAINING)
            studio = Studio.from_settings(settings)
            annotator = Annotator(studio, truth)
            project = annotator.create_project("bench")
            annotator.upload(project, truth.images)
            jobs = Jobs(settings)
            connect(studio, settings, project, installation.backend_url, jobs)
            _finished(jobs, "rank", project)
            for _ in range(labeled):
                annotator.label_next(project)
            jobs.enqueue("train", project)
            start = time.monotonic()
            stages = _finished(jobs, "train", project)
            seconds = time.monotonic() - start
            record = json.loads(
                store_of(settings, project).read(store_of(settings, project).list()[-1].name, "ranking.json")
            )
            return {"seconds": seconds, "stages": stages, "variants": record["variants"], "by": record["strategy"]}
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _finished(jobs: Jobs, kind: str, project: int) -> dict[str, float]:
    """The stages of the newest job of a kind, once it has ended well."""
    for _ in attempts(3600):
        job = jobs.last(kind, project)
        if job is not None and (seen := describe(job))["status"] not in {"queued", "started", "scheduled", "deferred"}:
            if seen["status"] != "finished":
                raise RuntimeError(f"{kind} of project {project} {seen['status']}: {seen['error']}")
            return seen["stages"]
    raise RuntimeError(f"{kind} of project {project} did not end within an hour")


def _coco(data: Path, tasks: int) -> Dataset:
    whole = Dataset.from_coco(data / "annotations.json", data / "images")
    return Dataset(whole.images[: min(tasks, MOST_TASKS)], whole.names)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cycle", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a COCO directory: annotations.json, images/")
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--labeled", type=int, default=LABELED)
    options = parser.parse_args(arguments)
    runs = {n: cycle(n, options.data, options.tasks, options.labeled) for n in (1, 2)}
    names = list(dict.fromkeys(name for run in runs.values() for name in run["stages"]))
    print(f"{'seconds':30}{'one worker':>12}{'two workers':>12}")
    for name in names:
        print(f"{name:30}" + "".join(f"{run['stages'].get(name, 0.0):12.1f}" for run in runs.values()))
    print(f"{'the whole cycle':30}" + "".join(f"{run['seconds']:12.1f}" for run in runs.values()))
    figures = {
        "ratio_one_worker": runs[1]["seconds"] / runs[1]["stages"]["train"],
        "ratio_two_workers": runs[2]["seconds"] / runs[2]["stages"]["train"],
        "seconds_retrain": runs[1]["stages"]["train"],
        "seconds_one_worker": runs[1]["seconds"],
        "seconds_two_workers": runs[2]["seconds"],
        "variants": [run["variants"] for run in runs.values()],
        "order_by": [run["by"] for run in runs.values()],
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

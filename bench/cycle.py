"""How long is a whole cycle, beside the retraining in it? As by default, and measuring, by one worker and by two.

    python -m bench.cycle                 # five to twelve minutes on two cores
    python -m bench.cycle --data DIR      # a labeled COCO directory instead of procedural scenes

A real installation is started (Label Studio, Redis, backend). Three projects get the same images and the same labels.
"Start training" is pressed in the first with one worker and the default settings, in the second with one worker that
always measures, in the third with two such workers. The retraining is the cycle's own stage "train"; the cycle is
everything from the press to the live order. A worker computes on half of the cores.

What a cycle does is what the defaults ask for, but for these:

- the demo's updates and weights, and pictures of 160 pixels: the same parts in less time;
- 400 scenes, 40 of them labeled: a pool that is many times what is labeled, and two shards to look at. With so few
  labels nothing is measured by default;
- where it measures, MGRAL_TIME_BUDGET without an end, so that all of the eight batches that MGRAL_HINDSIGHT names are
  measured. By default four or five of them fit into 1.5 times the training, so a second worker saves less of a cycle.

It prints when each job waited and ran; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from backend.commands.demo import LABELED, TRAINING
from backend.project.serving import published_of, store_of
from backend.queue.progress import describe
from bench.installation import Installation, JobTimes, installation, report, say, timeline
from model.data.dataset import Dataset
from model.synthetic.scenes import write_scenes

TASKS = 400
UNLIMITED = "86400"
CYCLE = TRAINING | {"IMAGE_SIZE": "160"}
MEASURED = {"CROSS_FITTING": "false", "MGRAL_MEASURE": "always", "MGRAL_HINDSIGHT": "8", "MGRAL_TIME_BUDGET": UNLIMITED}

RUNS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("as by default", "work-0", {}),
    ("measuring, one worker", "work-1", MEASURED),
    ("measuring, two workers", "work-2", MEASURED),
)
"""What each cycle is called, the worker that is started for it, and that worker's settings"""


def cycle(bench: Installation, title: str, truth: Dataset, labeled: int) -> tuple[list[JobTimes], dict]:
    """When the jobs of a cycle waited and ran, and of its order: how many variants were trained, the strategy, and the
    seconds of the retraining alone."""
    project, annotator = bench.project(title, truth)
    bench.ended("rank", project)
    for task in sorted(annotator.by_task)[:labeled]:  # of every project the same images
        annotator.label(task)
    say(f"{labeled} of {len(truth)} tasks are labeled; training")
    bench.jobs.enqueue("train", project)
    head = bench.ended("train", project)
    live = published_of(bench.settings, project).current()
    assert live is not None  # the cycle ended well
    record = json.loads(store_of(bench.settings, project).read(live.version, "ranking.json"))
    retrain = describe(head)["stages"]["train"]
    return timeline(head), {"variants": record["variants"], "by": record["strategy"], "retrain": retrain}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cycle", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a COCO directory: annotations.json, images/")
    parser.add_argument("--tasks", type=int, default=TASKS)
    parser.add_argument("--labeled", type=int, default=LABELED)
    options = parser.parse_args(arguments)
    runs: dict[str, tuple[list[JobTimes], dict]] = {}
    with installation(**CYCLE) as bench:
        if options.data is None:
            truth = write_scenes(bench.stack.directory / "scenes", options.tasks, seed=0)
        else:
            whole = Dataset.from_coco(options.data / "annotations.json", options.data / "images")
            truth = Dataset(whole.images[: options.tasks], whole.names)
        for run, name, settings in RUNS:
            bench.start_worker(name, **settings)
            runs[run] = cycle(bench, run, truth, options.labeled)
            report(run, runs[run][0])
            if settings == {}:
                bench.stack.stop(name)
    seconds = {run: max(job.ended for job in jobs) for run, (jobs, _) in runs.items()}
    usual, one, two = (runs[run][1] | {"seconds": seconds[run]} for run, *_ in RUNS)
    figures = {
        "ratio_one_worker": usual["seconds"] / usual["retrain"],
        "measuring_ratio_one_worker": one["seconds"] / one["retrain"],
        "measuring_ratio_two_workers": two["seconds"] / two["retrain"],
        "speedup_two_workers": one["seconds"] / two["seconds"],
        "runs": {"default": usual, "measuring, one worker": one, "measuring, two workers": two},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

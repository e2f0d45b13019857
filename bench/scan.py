"""How fast does the detector look at a pool, with one worker and with two, and where does the time go?

    python -m bench.scan                  # four minutes on two cores
    python -m bench.scan --tasks 10000

A real installation is started (Label Studio, Redis, backend). Two projects get the same 1,500 road-sign scenes as
uploads; the first is looked at by one worker, the second by two. The images a second count from the beginning of the
first shard until all are written, so the start of each job is in them. A worker computes on half of the cores. Label
Studio, which hands the images out, runs on the same cores: with two workers on two cores that takes its share.

Then the images of one shard go through each part alone, in this process and on as many threads as a worker has. In a
scan the downloads and the decoding run beside the detector, so the parts add up to more than a scan takes. The last
line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from agent.pool.descriptors import describe
from agent.pool.store import Encoder, PoolStore
from backend.commands.demo import TRAINING
from backend.label_studio.images import DOWNLOADS, Pictures
from backend.label_studio.labels import LabelConfig
from backend.project.images import ShownBoxes, TaskImages
from backend.project.predictions import Predictions
from backend.project.serving import detector_of, store_of
from bench.installation import Installation, installation, report, say, timeline
from model.data.images import load_image
from model.synthetic.scenes import write_scenes
from model.thresholds import Thresholds

T = TypeVar("T")

TASKS = 1500
ALONE = 200  # images that go through each part alone: the smallest shard


def parts(bench: Installation, project: int) -> dict[str, float]:
    """Milliseconds an image that each part of a scan takes alone, and "whole" for all of them as in a worker."""
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    config = LabelConfig.parse(bench.studio.project(project)["label_config"])
    tasks = [task for task, _ in zip(bench.studio.tasks(project), range(ALONE), strict=False)]
    version = store_of(bench.settings, project).serving()
    assert version is not None  # the project has an order
    detector = detector_of(version)
    folder = bench.stack.directory / "parts"
    milliseconds: dict[str, float] = {}

    def timed(name: str, do: Callable[[], T]) -> T:
        start = time.perf_counter()
        out = do()
        milliseconds[name] = round(1000 * (time.perf_counter() - start) / len(tasks), 3)
        return out

    def pictures(name: str) -> Pictures:
        return Pictures(bench.studio, folder / name, bench.settings.cache_gb)

    def shown(name: str) -> ShownBoxes:
        boxes = Predictions(folder / name / "seen.sqlite")
        return ShownBoxes(boxes, dict(images.keys()), config, detector.names, {}, Thresholds())

    cold = pictures("downloaded")
    with ThreadPoolExecutor(DOWNLOADS) as pool:
        files = timed("download", lambda: list(pool.map(lambda task: cold.read(task, config.data_key), tasks)))
    decoded = timed("decode", lambda: [load_image(file) for file in files])
    seen = timed("detector", lambda: list(detector.scan(decoded, batch=bench.settings.batch)))
    timed("describe", lambda: [describe(detections) for detections, _ in seen])
    images = TaskImages(tasks, pictures("whole"), config.data_key, [])
    whole, kept = PoolStore(folder / "shard"), shown("shard")
    encoder = Encoder(detector, "bench")
    timed("whole", lambda: whole.scan(encoder, images, kept, batch=bench.settings.batch))
    rows = list(kept.predictions.rows())

    def write() -> None:
        PoolStore(folder / "again").absorb(folder / "shard")
        Predictions(folder / "again" / "seen.sqlite").put(rows)

    timed("write", write)
    return milliseconds


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.scan", description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=TASKS)
    options = parser.parse_args(arguments)
    speed: dict[int, float] = {}
    with installation(**TRAINING) as bench:
        truth = write_scenes(bench.stack.directory / "scenes", options.tasks, seed=0)
        for workers, title in ((1, "one worker"), (2, "two workers")):
            bench.start_worker(f"work-{workers}")
            project, _ = bench.project(title, truth)
            jobs = timeline(bench.ended("rank", project))
            report(title, jobs)
            scans = [job for job in jobs if job.part == "scan"]
            speed[workers] = len(truth) / (max(job.ended for job in scans) - min(job.began for job in scans))
        for name in ("work-1", "work-2"):
            bench.stack.stop(name)
        say(f"each part alone, on {ALONE} images")
        milliseconds = parts(bench, project)
    for name, each in milliseconds.items():
        print(f"{name:12}{each:8.2f} ms an image")
    figures = {
        "images_a_second_one_worker": speed[1],
        "images_a_second_two_workers": speed[2],
        "speedup_two_workers": speed[2] / speed[1],
        "milliseconds_an_image": milliseconds,
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

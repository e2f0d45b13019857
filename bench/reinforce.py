"""How many batches a second does the policy learn from, and how many would it without a look-up table?

    python -m bench.reinforce             # a minute on one core
    python -m bench.reinforce --quick     # seconds, small data: does it run

An episode is a batch of 50 of 200 candidates: drawn, its gain looked up, learned from. Beside it stands the time that
its reward alone would take: one evaluation of pycocotools on a holdout of 200 images, and one retraining of a detector.
The latter is extrapolated from a few measured steps. One thread; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

import numpy as np
import torch

from agent.policy.reinforce import ReinforceConfig, train_policy
from bench import ap_peers
from bench.detection_data import VOC, make
from bench.planted import BUDGET, CELLS, FEATURES, PlantedTable
from model.detectors.base import FitConfig
from model.detectors.open import open_detector
from model.synthetic.scenes import write_scenes

POOL, HOLDOUT, STEPS = 10_000, 200, 120


def episode_seconds(config: ReinforceConfig, seed: int) -> float:
    """Seconds an episode of a whole training, with its imitation of an order and its measurements of progress."""
    rng = np.random.default_rng(seed)
    table = PlantedTable.draw(CELLS, FEATURES, rng)
    phi = table.images(POOL, 1.0, rng)
    start = time.perf_counter()
    _, curve = train_policy(phi, table, BUDGET, config, rng.permutation(POOL), seed)
    return (time.perf_counter() - start) / (len(curve.rewards) * config.chunks * config.episodes)


def evaluation_seconds(images: int, repeat: int, seed: int) -> float:
    """Median seconds of one mAP by pycocotools over VOC-like images."""
    ground_truth, detections = make(replace(VOC, images=images), seed)
    query = ap_peers.coco_eval("pycocotools", ground_truth, detections)
    ids = [image["id"] for image in ground_truth["images"]]

    def once() -> float:
        start = time.perf_counter()
        query(ids)
        return time.perf_counter() - start

    return statistics.median(once() for _ in range(repeat))


def step_seconds(steps: int, image_size: int, seed: int) -> float:
    """Seconds of one training step on 16 images: a longer run less a shorter one, so that what is done once is out."""
    detector = open_detector("starter")

    def fit(count: int) -> float:
        start = time.perf_counter()
        detector.fit(scenes, FitConfig(epochs=1, min_steps=count, image_size=image_size, seed=seed))
        return time.perf_counter() - start

    with tempfile.TemporaryDirectory() as directory:
        scenes = write_scenes(directory, 16, seed)
        fit(1)
        return (fit(2 * steps) - fit(steps)) / steps


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reinforce", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small data: seconds instead of a minute")
    parser.add_argument("--seed", type=int, default=0, help="of the data and the training (default 0)")
    options = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        config = ReinforceConfig(updates=3, imitation=1) if options.quick else ReinforceConfig(updates=50)
        ours = episode_seconds(config, options.seed)
        evaluation = evaluation_seconds(20 if options.quick else HOLDOUT, 3, options.seed)
        step = step_seconds(*((2, 64) if options.quick else (4, 224)), options.seed)
    finally:
        torch.set_num_threads(threads)
    print(f"{'':44}{'seconds an episode':>20}{'x slower':>12}")
    for name, seconds in (
        ("policy and gains by look-up", ours),
        ("one evaluation by pycocotools", evaluation),
        (f"one retraining ({step:.3f} s a step x {STEPS}, extrapolated)", step * STEPS),
    ):
        print(f"{name:52}{seconds:12.6f}{seconds / ours:12.0f}")
    print(
        json.dumps(
            {
                "episodes_per_second": 1 / ours,
                "ratio_pycocotools": evaluation / ours,
                "ratio_retraining": step * STEPS / ours,
                "evaluation_seconds": evaluation,
                "step_seconds": step,
            }
        )
    )


if __name__ == "__main__":
    main()

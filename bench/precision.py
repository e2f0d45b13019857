"""How much faster does a network learn in bfloat16, on a CPU that computes in it?

    python -m bench.precision             # half a minute on one core
    python -m bench.precision --quick     # seconds, small pictures: does it run

The same updates of the starter detector on the same pictures, in turns. One thread; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from unittest.mock import patch

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

import torch

from model.detectors.learner import Learner
from model.detectors.network import NetworkDetector
from model.detectors.open import open_detector
from model.detectors.precision import computes_in_bfloat16
from model.detectors.training import Samples
from model.synthetic.scenes import write_scenes

RATE = 2e-3


def update_seconds(image_size: int, batch: int, repeat: int) -> dict[str, float]:
    """Median seconds of an update on `batch` pictures, by the type that the network computes in."""
    detector = open_detector("starter")
    assert isinstance(detector, NetworkDetector)
    detector.image_size = image_size
    types: dict[str, AbstractContextManager] = {
        "float32": patch("model.detectors.yolo.autocast", lambda: torch.autocast("cpu", enabled=False)),
        "bfloat16": nullcontext(),
    }
    with tempfile.TemporaryDirectory() as directory:
        scenes = Samples(write_scenes(directory, batch, 0), image_size, cached=True)
        samples = [scenes[k] for k in range(batch)]
    learners = {name: Learner(detector, learning_rate=RATE) for name in types}
    seconds: dict[str, list[float]] = {name: [] for name in learners}
    for _ in range(repeat + 1):  # the first is to warm up
        for name, learner in learners.items():
            clock = time.perf_counter()
            with types[name]:
                loss = learner.loss(samples)
            learner.update(loss, 1.0, 0.9)
            seconds[name].append(time.perf_counter() - clock)
    return {name: statistics.median(measured[1:]) for name, measured in seconds.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.precision", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small pictures: seconds instead of half a minute")
    options = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        figures: dict[str, object] = {"computes_in_bfloat16": computes_in_bfloat16()}
        sizes = [(64, 2, 2)] if options.quick else [(160, 8, 20), (192, 16, 10), (320, 16, 5)]
        print(f"{'':28}{'float32 s':>12}{'bfloat16 s':>12}{'ratio':>8}")
        for size, batch, repeat in sizes:
            seconds = update_seconds(size, batch, repeat)
            ratio = seconds["float32"] / seconds["bfloat16"]
            print(
                f"{batch} pictures of {size} px{'':8}{seconds['float32']:12.3f}{seconds['bfloat16']:12.3f}{ratio:8.2f}"
            )
            figures[f"{size}px"] = seconds | {"ratio": ratio}
    finally:
        torch.set_num_threads(threads)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

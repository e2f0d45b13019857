"""Do pseudo-labels of the unlabeled pool raise a detector's own mAP? From a COCO start, at equal labels.

    python -m bench.self_training --out OUT [--sets cards,wild-cards,bccd] [--seeds 0-2] [--labeled 48,144]

A detector trained on COCO learns a set's classes from some labeled images. Then two copies of it learn on, for as many
updates: one from the labeled images alone, the other half from them and half from the rest of the pool, whose boxes the
moving average of its own weights draws (`agent.inner_loop.surrogate`, the paper's L_S + w(t) L_U). Both are measured on
the evaluation images. A measurement's JSON is written when it is over; the same command goes on. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from agent.inner_loop.surrogate import VariantCurve, train_variant
from agent.inner_loop.values import SurrogateConfig
from bench.curves import IMAGE_SIZE, SHARED, TRAIN_BATCH, data_of
from bench.laboratory import numbers
from model.atomic import write_file
from model.detectors.base import FitConfig
from model.detectors.network import NetworkDetector
from model.detectors.open import open_detector

START = SHARED / "weights" / "coco_v5n.pt"
FIRST, MORE = 240, 120  # updates from the labels alone, and then of each of the two


def measured(name: str, labeled: int, seed: int, out: Path) -> dict[str, Any]:
    """mAP with and without pseudo-labels, from disk where it is done."""
    file = out / "self-training" / f"{name}-{labeled}-{seed}.json"
    if file.exists():
        return json.loads(file.read_text())
    began = time.monotonic()
    pool, evaluation = data_of(name, out)
    order = np.random.default_rng(seed).permutation([image.id for image in pool.images]).tolist()
    known, rest = pool.subset(order[:labeled]), pool.subset(order[labeled:])
    fit = FitConfig(epochs=1, min_steps=FIRST, batch=TRAIN_BATCH, image_size=IMAGE_SIZE, seed=seed)
    detector = open_detector(str(START)).fit(known, fit)
    assert isinstance(detector, NetworkDetector)
    config = SurrogateConfig(steps=MORE, every=MORE // 6, batch=2 * TRAIN_BATCH, seed=seed)
    body = {
        "labels": _map(train_variant(detector, known, known, evaluation, config, labels=True)),
        "pseudo": _map(train_variant(detector, known, rest, evaluation, config, labels=False)),
        "true": _map(train_variant(detector, known, rest, evaluation, config, labels=True)),
        "seconds": round(time.monotonic() - began, 1),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, json.dumps(body).encode())
    return body


def _map(curve: VariantCurve) -> float:
    """The mean of its measurements."""
    return float(np.mean([table.evaluate().map for table in curve.tables]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.self_training", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default="cards,wild-cards,bccd")
    parser.add_argument("--seeds", default="0-2", type=numbers)
    parser.add_argument("--labeled", default="48,144")
    options = parser.parse_args(arguments)
    figures: dict[str, Any] = {}
    for name in options.sets.split(","):
        for labeled in map(int, options.labeled.split(",")):
            found = [measured(name, labeled, seed, options.out) for seed in options.seeds]
            differences = [one["pseudo"] - one["labels"] for one in found]
            figures[f"{name} {labeled}"] = {
                kind: round(float(np.mean([one[kind] for one in found])), 4) for kind in ("labels", "pseudo", "true")
            } | {"differences": [round(one, 4) for one in differences]}
            print(f"{name:12} {labeled:4} labeled: {json.dumps(figures[f'{name} {labeled}'])}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

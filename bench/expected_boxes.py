"""From which score on do boxes count as expected? Read off the models that bench.curves left in OUT.

    python -m bench.curves --out OUT
    python -m bench.expected_boxes --out OUT --seeds 0     # half a minute for each set and seed

An image's expected boxes of a class are the sum of the class's scores over its boxes from a cut on. For every cut, over
images that the model has not learned from, by the first model and by random's last: the rank correlation of expected
with true boxes, of all boxes together and class by class (the mean); and the worth of the batch that the law of
`agent.gain.class_curves` finds best by the expected boxes, where a random batch's is 0 and the best one's by the
true boxes is 1. "one a place" is the cut of the product, and of boxes that overlap only the surest counts, whatever
its class. The last line is JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

import numpy as np
import torch
from torchvision.ops import nms

from agent.gain.ranks import spearman
from agent.policy.policy import greedy
from agent.pool.descriptors import SCORE_FLOOR
from agent.simulation.run import Run
from bench.kept_curves import Kept, class_ap, counts, learned, model_of
from bench.oracle import Law
from model.data.dataset import Dataset
from model.data.detections import Detections
from model.detectors.open import open_detector
from model.evaluate import detect

CUTS = (0.01, 0.05, 0.1, 0.25, 0.4)
OVERLAP = 0.6  # IoU
RANDOM_BATCHES = 100


def expected_boxes(found: Sequence[Detections], cut: float) -> np.ndarray:
    """(n, C) of n images."""
    return np.array([one.class_scores[one.scores >= cut].sum(axis=0) for one in found])


def one_a_place(found: Sequence[Detections]) -> np.ndarray:
    """(n, C) expected boxes by the surest of overlapping boxes alone."""
    rows = []
    for one in found:
        kept = one.above(SCORE_FLOOR)
        surest = nms(torch.from_numpy(kept.xyxy), torch.from_numpy(kept.scores), OVERLAP).numpy()
        rows.append(kept.class_scores[surest].sum(axis=0))
    return np.array(rows)


def agreement(expected: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Rank correlation of expected with true boxes (n, C): of all boxes, and the mean over the classes that occur. A
    class of which nothing is found counts 0."""
    by_class = [spearman(expected[:, k], truth[:, k]) for k in np.flatnonzero(truth.any(axis=0))]
    whole = spearman(expected.sum(axis=1), truth.sum(axis=1))
    return float(np.nan_to_num(whole)), float(np.mean(np.nan_to_num(by_class)))


def worth(expected: np.ndarray, truth: np.ndarray, law: Law, size: int) -> float:
    """What the batch of `size` that is best by expected boxes (n, C) is worth by the true ones (n, C): from 0, the mean
    of random batches, to 1, the batch that is best by the true ones."""
    rng = np.random.default_rng(0)
    batches = [rng.choice(len(truth), size, replace=False) for _ in range(RANDOM_BATCHES)]
    batches += [greedy(law, truth, size), greedy(law, expected, size)]
    *chance, best, ours = law.read(np.array([truth[rows].sum(axis=0) for rows in batches]))[0].tolist()
    return float((ours - np.mean(chance)) / (best - np.mean(chance)))


def of_model(run: Run, cycle: int) -> dict[str, dict[str, float]]:
    """By cut, how far the expected boxes of a cycle's model agree with the true ones, over images it never saw."""
    version, measured = model_of(run, cycle)
    known = set(measured["labeled"])
    fresh = [image for image in run.pool.images if image.id not in known]
    data = Dataset((*run.evaluation.images, *fresh), run.pool.names)
    truth = counts(data.images, len(data.names))
    law = Law(learned(run, measured["labeled"]), class_ap(version, data.names))
    found = detect(open_detector(version.weights), data, version.label_map)
    ways = {f"{cut:g}": expected_boxes(found, cut) for cut in CUTS} | {"one a place": one_a_place(found)}
    told = {}
    for way, expected in ways.items():
        total, by_class = agreement(expected, truth)
        share = worth(expected, truth, law, run.config.batch)
        told[way] = {"total": round(total, 3), "by_class": round(by_class, 3), "worth": round(share, 3)}
    return told


def main(arguments: Sequence[str] | None = None) -> None:
    kept = Kept.asked("python -m bench.expected_boxes", __doc__, arguments)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, runs in kept.runs("random"):
        for run in runs:
            for cycle in (0, run.config.cycles):
                key = f"{name}, seed {run.seed}, cycle {cycle}"
                figures[key] = of_model(run, cycle)
                rows = figures[key].items()
                line = "   ".join(f"{way}: " + " ".join(f"{x:.2f}" for x in on.values()) for way, on in rows)
                print(f"{key:26}{line}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

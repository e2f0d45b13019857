"""From which score on do boxes count as expected? Read off the models that bench.curves left in OUT.

    python -m bench.curves --out OUT
    python -m bench.expected_boxes --out OUT --seeds 0     # half a minute for each set and seed

An image's expected boxes of a class are the sum of the class's scores over its boxes from a cut on. For every cut: the
rank correlation of expected with true boxes over images that the model has not learned from, of all boxes together and
class by class (the mean), by the first model and by random's last. The last line is JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

import numpy as np

from agent.ranks import spearman
from agent.simulation.run import Run, detections
from bench.kept_curves import Kept, model_of
from model.dataset import Dataset
from model.detections import Detections
from model.detector import open_detector

CUTS = (0.01, 0.05, 0.1, 0.25, 0.4)


def agreement(found: Sequence[Detections], truth: np.ndarray, cut: float) -> tuple[float, float]:
    """Rank correlation with the true boxes (n, C): of all boxes, and the mean over the classes that occur. A class of
    which nothing is found counts 0."""
    expected = np.array([one.class_scores[one.scores >= cut].sum(axis=0) for one in found])
    by_class = [spearman(expected[:, k], truth[:, k]) for k in np.flatnonzero(truth.any(axis=0))]
    whole = spearman(expected.sum(axis=1), truth.sum(axis=1))
    return float(np.nan_to_num(whole)), float(np.mean(np.nan_to_num(by_class)))


def of_model(run: Run, cycle: int) -> dict[str, dict[str, float]]:
    """By cut, how far the expected boxes of a cycle's model agree with the true ones, over images it never saw."""
    version, measured = model_of(run, cycle)
    known = set(measured["labeled"])
    fresh = [image for image in run.pool.images if image.id not in known]
    data = Dataset((*run.evaluation.images, *fresh), run.pool.names)
    truth = np.array([np.bincount(image.class_ids, minlength=len(data.names)) for image in data.images])
    found = detections(version, open_detector(version.weights), data)
    told = {}
    for cut in CUTS:
        total, by_class = agreement(found, truth, cut)
        told[f"{cut:g}"] = {"total": round(total, 3), "by_class": round(by_class, 3)}
    return told


def main(arguments: Sequence[str] | None = None) -> None:
    kept = Kept.asked("python -m bench.expected_boxes", __doc__, arguments)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, runs in kept.runs("random"):
        for run in runs:
            for cycle in (0, run.config.cycles):
                key = f"{name}, seed {run.seed}, cycle {cycle}"
                figures[key] = of_model(run, cycle)
                line = "   ".join(f"{cut}: {on['total']:.2f} {on['by_class']:.2f}" for cut, on in figures[key].items())
                print(f"{key:26}{line}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

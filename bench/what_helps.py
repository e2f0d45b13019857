"""What do batches that raise mAP have in common? Read off the curves that bench.curves left in OUT.

    python -m bench.curves --out OUT
    python -m bench.what_helps --out OUT        # ten seconds for each set and seed

Strategies under the same seed and cycle differ by their labels alone. Over them mAP is correlated with what was
labeled: boxes, put together by different laws of what a class gains from them, once as they are and once as the
detector that all started from expected them; how near the pool is to the nearest labeled image; how undecided their
boxes were. The last line is JSON.

Laws, of n boxes of a class: "all" log of the sum over classes; "rare" the error of each class falls as (n + 1)^-1/2, so
that the rarest gain most; "odds" the mean AP of `agent.gain.class_curves`; "new .25" the same, where an image's boxes
count by how new it is beside the others that are labeled (`agent.pool.newness`), with a reach of that share of the
median distance; "content" the boxes that an image counts for by its detector's doubt (`agent.gain.content`), as the
product has it. "gamma" is no correlation but that law's exponent: the slope of a class's AP over log(n + 1), both less
their means over strategies, in units of AP (1 - AP).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

import numpy as np

from agent.gain.class_curves import curve, half_learned
from agent.gain.content import DOUBT, Content
from agent.pool.descriptors import BOX_COLUMNS, describe, weigh
from agent.pool.newness import REACH, newness
from agent.pool.reduction import Reduction
from agent.simulation.config import SimulationConfig
from agent.simulation.run import Run
from bench.curves import STRATEGIES
from bench.kept_curves import Kept, class_ap, counts, learned, model_of
from model.detectors.open import open_detector

REACHES = (0.1, 0.25, 0.4, 0.6)
FEWEST = 4  # strategies under a seed and cycle, to compare them


@dataclass(frozen=True)
class Seen:
    """A pool as the first detector sees it: (n, C) expected boxes, (n, C) boxes that images count for by its doubt,
    (n,) mean entropy, (n, n) distances."""

    expected: np.ndarray
    content: np.ndarray
    entropy: np.ndarray
    distances: np.ndarray


def described(run: Run) -> Seen:
    """The pool of a run."""
    version, _ = model_of(run, 0)
    found, encodings = zip(*open_detector(version.weights).scan([image.path for image in run.pool.images]), strict=True)
    rows = np.stack([describe(one) for one in found])
    columns, expected = weigh(rows, class_ap(version, run.pool.names))
    u = columns[:, [BOX_COLUMNS.index(DOUBT)]]
    usual = float(u.mean()) or 1.0
    level = float(expected.sum() / max(np.log1p(u / usual).sum(), 1e-9))
    content = Content(0, 0.0, 1.0, usual, level).counted(expected, u)
    x = np.stack(encodings).astype(np.float32)
    x = Reduction.fit(x, x[:0]).apply(x).astype(np.float64)
    squares = np.square(x).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0.0))
    return Seen(expected, content, rows[:, 1], distances)


def about(run: Run, cycle: int, known: Seen) -> dict[str, float]:
    """What the labeled images of a cycle are."""
    expected, distances = known.expected, known.distances
    measured = run.measured(cycle)
    assert measured is not None
    row = {image.id: k for k, image in enumerate(run.pool.images)}
    true = counts(run.pool.images, expected.shape[1])
    first = run.initial()
    labeled = [row[k] for k in measured["labeled"]]
    added = [row[k] for k in measured["labeled"] if k not in set(first)]
    seen = true[[row[k] for k in first]].sum(axis=0)
    half = half_learned(class_ap(model_of(run, 0)[0], run.pool.names), seen)
    told = {}
    for kind, boxes in (("true", seen + true[added].sum(axis=0)), ("expected", seen + expected[added].sum(axis=0))):
        told[f"all, {kind}"] = float(np.log(boxes.sum()))
        told[f"rare, {kind}"] = -float(((boxes + 1) ** -0.5).sum())
        told[f"odds, {kind}"] = float(curve(boxes, half).sum())
    places = np.array([row[k] for k in first] + added)
    between = distances[np.ix_(places, places)]
    nearest = np.array([between[k, :k].min() for k in range(len(first), len(places))])
    usual = float(np.median(distances[np.triu_indices(len(distances), 1)]))
    for reach in REACHES:
        new = newness(np.square(nearest), reach * usual)
        told[f"new {reach:g}, true"] = float(curve(seen + new @ true[added], half).sum())
    new = newness(np.square(nearest), REACH * usual)
    for kind, boxes in (("new, expected", expected), ("new, content", known.content)):
        told[kind] = float(curve(seen + new @ boxes[added], half).sum())
    told["coverage"] = -float(distances[:, labeled].min(axis=1).mean())
    told["entropy"] = float(known.entropy[added].mean())
    return told


def correlations(runs: Sequence[Run], config: SimulationConfig) -> dict[str, float]:
    """Mean over seeds and cycles of the correlation over strategies."""
    found: dict[str, list[float]] = {}
    for seed in config.seeds:
        mine = [run for run in runs if run.seed == seed]
        if not mine or not mine[0].start.exists():
            continue
        known = described(mine[0])
        for cycle in range(1, config.cycles + 1):
            done = [(run, m["map"]) for run in mine if (m := run.measured(cycle)) is not None]
            if len(done) < FEWEST:
                continue
            told = [about(run, cycle, known) for run, _ in done]
            for name in told[0]:
                x, y = [one[name] for one in told], [score for _, score in done]
                if np.ptp(x) > 0 and np.ptp(y) > 0:
                    found.setdefault(name, []).append(float(np.corrcoef(x, y)[0, 1]))
    return {name: round(float(np.mean(values)), 2) for name, values in found.items()}


def gamma(runs: Sequence[Run], config: SimulationConfig) -> float:
    """Exponent of the power law of the odds of AP: d AP = gamma AP (1 - AP) d log(n + 1), by least squares."""
    names = runs[0].pool.names
    x, y = [np.zeros(0)], [np.zeros(0)]
    for seed in config.seeds:
        for cycle in range(1, config.cycles + 1):
            done = [m for run in runs if run.seed == seed and (m := run.measured(cycle)) is not None]
            if len(done) < FEWEST:
                continue
            ap = np.array([[m["per_class"].get(name, 0.0) for name in names] for m in done])
            boxes = [learned(runs[0], m["labeled"]) for m in done]
            logs = np.log1p(np.array(boxes))
            mean = ap.mean(axis=0)
            x.append(((logs - logs.mean(axis=0)) * mean * (1 - mean)).ravel())
            y.append((ap - mean).ravel())
    rise, risen = np.concatenate(x), np.concatenate(y)
    return round(float(rise @ risen / (rise @ rise)), 2) if len(rise) else float("nan")


def main(arguments: Sequence[str] | None = None) -> None:
    kept = Kept.asked("python -m bench.what_helps", __doc__, arguments)
    figures = {}
    for name, runs in kept.runs(*STRATEGIES):
        config = runs[0].config
        figures[name] = correlations(runs, config) | {"gamma": gamma(runs, config)}
        print(f"{name:10}" + "".join(f"{key}: {value:+.2f}   " for key, value in figures[name].items()), flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

"""Does cross-fitting tell whether a new model is better, where the holdout cannot?

    python -m bench.cross_fitting --out OUT [--sets cards,scenes] [--seeds 0,1,2]     # 8 minutes a seed on a core

Versions as in the product: each learns from the labels so far, but for the holdout, from the one before on. Labels
come at random, 24 at a time. Of each version and its parent three differences of mAP are told: on the holdout, by
cross-fitting, and on the evaluation images, which nobody has seen. The last is the truth that the others are judged by;
it has an error of its own, so its interval counts: a difference of no sure sign there makes no verdict wrong. A seed
that is done is kept in OUT. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from agent.cross_fitting import CrossFitting
from agent.holdout import FEWEST_IMAGES, FILE, Compared, Holdout, with_parent
from agent.learning import learn
from agent.match.scores import Estimate
from agent.match_table import MatchTable
from bench.curves import FIRST_UPDATES, IMAGE_SIZE, TRAIN_BATCH, UPDATES, data_of
from model.atomic import write_file
from model.detectors.base import Detector, FitConfig
from model.detectors.open import open_detector
from model.evaluate import detect
from model.versions import VersionStore

BATCH, VERSIONS = 24, 4
WAYS = ("holdout", "cross-fitted")


@dataclass(frozen=True)
class Step:
    """From one version to the next.

    Attributes:
        labeled: images.
        images: that each way of `WAYS` judges by.
        told: way, or "truth" -> (difference of mAP, low, high).
    """

    labeled: int
    images: dict[str, int]
    told: dict[str, tuple[float, float, float]]


def run(name: str, seed: int, out: Path) -> list[Step]:
    """The steps of one project whose images are labeled at random."""
    file = out / f"{name}-{seed}.json"
    if file.exists():
        return [Step(**step) for step in json.loads(file.read_bytes())]
    pool, evaluation = data_of(name, out)
    ids = np.random.default_rng(seed).permutation([image.id for image in pool.images])
    place = out / f"{name}-{seed}"
    store = VersionStore(place / "versions")
    detector: Detector = open_detector("starter")
    detector.image_size = IMAGE_SIZE
    version = store.add_first(detector, {})
    tables = [MatchTable.from_dataset(evaluation, detect(detector, evaluation, {}))]
    fit = FitConfig(epochs=1, min_steps=FIRST_UPDATES, batch=TRAIN_BATCH, image_size=IMAGE_SIZE, seed=seed)
    steps = []
    for number in range(1, VERSIONS + 1):
        labeled = pool.subset(ids[: BATCH * number].tolist())
        folder = place / f"cycle-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        learned = learn(folder, store, version, detector, labeled, fit, watch)
        version, detector = learned.version, learned.detector
        fitted = with_parent(CrossFitting(folder / "cross-fitting", store, fit, watch).compare(version, labeled))
        held = with_parent(Holdout.of_bytes(store.read(version.name, FILE)))
        tables.append(MatchTable.from_dataset(evaluation, detect(detector, evaluation)))
        steps.append(step_of(len(labeled), held, fitted, tables[-1].delta(tables[-2], rng=0).map))
        print(f"{name}, seed {seed}: {steps[-1]}", file=sys.stderr, flush=True)
        fit = replace(fit, min_steps=UPDATES)
    write_file(file, json.dumps([asdict(step) for step in steps]).encode())
    return steps


def step_of(labeled: int, held: Compared | None, fitted: Compared | None, truth: Estimate) -> Step:
    """What was told of a step; a holdout without a box tells nothing."""
    ways = {way: one for way, one in zip(WAYS, (held, fitted), strict=True) if one is not None}
    told = {way: one.delta.map for way, one in ways.items()} | {"truth": truth}
    return Step(
        labeled,
        {way: one.images for way, one in ways.items()},
        {way: (one.value, one.low, one.high) for way, one in told.items()},
    )


def figures(steps: Sequence[Step]) -> dict[str, dict[str, float]]:
    """Way -> how well it tells: mean distance from the truth, mean width of the interval, how many intervals lie on one
    side of zero, how many of these the product calls better or worse (on enough images), how many lie on the wrong side
    of a sure truth, and how many sure truths there are."""
    out = {}
    for way in WAYS:
        told = [step for step in steps if way in step.told]
        pairs = [(step.told[way], step.told["truth"]) for step in told]
        calls = [(sign(one), sign(truth)) for one, truth in pairs]
        enough = [step.images[way] >= FEWEST_IMAGES for step in told]
        out[way] = {
            "steps": len(pairs),
            "distance": round(statistics.mean(abs(one[0] - truth[0]) for one, truth in pairs), 4),
            "width": round(statistics.mean(one[2] - one[1] for one, _ in pairs), 4),
            "whole intervals": sum(call != 0 for call, _ in calls),
            "called": sum(call != 0 and many for (call, _), many in zip(calls, enough, strict=True)),
            "wrongly": sum(call != 0 and truth not in (0, call) for call, truth in calls),
            "sure truths": sum(truth != 0 for _, truth in calls),
        }
    return out


def sign(told: tuple[float, float, float]) -> int:
    """1 where the whole interval is above zero, -1 below, else 0."""
    return 1 if told[1] > 0 else -1 if told[2] < 0 else 0


def watch(stage: str, done: int, total: int, **_: float) -> None:
    """One line on the terminal."""
    if sys.stderr.isatty():
        print(f"\r{stage}: {done} of {total}   ", end="", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cross_fitting", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default="cards,scenes")
    parser.add_argument("--seeds", default="0,1,2")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    by_set = {
        name: [step for seed in seeds for step in run(name, seed, options.out)] for name in options.sets.split(",")
    }
    result = {name: figures(steps) for name, steps in by_set.items()}
    result["all"] = figures([step for steps in by_set.values() for step in steps])
    for name, ways in result.items():
        for way, about in ways.items():
            print(f"{name:12}{way:14}" + "  ".join(f"{what} {value}" for what, value in about.items()))
    print(json.dumps(result))


if __name__ == "__main__":
    main()

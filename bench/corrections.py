"""Which boxes leave annotators least to correct: one threshold for all classes, or each class's own; one box a place?

    python -m bench.corrections --out OUT [--sets bccd,cards,aquarium] [--seeds 0,1,2]

Half of the images that may be labeled, and all of them, are learned from as in the product: a fifth is held out, the
detector learns the rest, and thresholds are learned from the holdout. What is corrected is counted on the evaluation
images, which nobody has seen, with the costs of `model.thresholds`: corrections and seconds an image, means over the
seeds. The detector is that of `bench.laboratory`, a frozen body with a head that learns in seconds: whole trainings
would take an hour. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from bench.curves import SHARED
from bench.frozen import Features, Head
from model.data.dataset import Dataset
from model.data.detections import Detections
from model.data.directories import open_directory
from model.thresholds import BORROWED, CAUTION, USUAL, Corrections, Costs, corrections, learn_thresholds, shown

SETS = ("bccd", "cards", "aquarium")
SHARES = (0.5, 1.0)  # of the images that may be labeled
ALL_ALIKE = 1e6  # objects of the average class: every class has the threshold of the average one
PARTS = ("relabeled", "deleted", "drawn", "count", "seconds")
COSTS = {"": Costs(), " (draw 35 s)": Costs(draw=35.0)}


@dataclass(frozen=True)
class Trained:
    """What a detector found in the images that were held out from it, and in the evaluation images."""

    holdout: Dataset
    found: list[Detections]
    evaluation: Dataset
    theirs: list[Detections]


def trained(name: str, share: float, seed: int, out: Path) -> Trained:
    """A detector that learned from some of the labeled images; what it found is kept in `out`."""
    data = open_directory(SHARED / name)
    pool, evaluation = data.pool_and_evaluation()
    ids = np.random.default_rng(seed).permutation([image.id for image in pool.images])
    learned, holdout = pool.subset(ids[: round(share * len(ids))].tolist()).holdout()
    file = out / f"{name}-{share}-{seed}.pickle"
    if not file.exists():
        head = Head.fit(learned, Features.of(data, out / f"{name}.npz"), seed)
        file.write_bytes(pickle.dumps([head.predict(holdout), head.predict(evaluation)]))
    found, theirs = pickle.loads(file.read_bytes())
    return Trained(holdout, found, evaluation, theirs)


def ways(holdout: Dataset, found: Sequence[Detections], costs: Costs) -> dict[str, tuple[Mapping[str, float], bool]]:
    """What is compared: thresholds by class, and whether one box a place is shown."""
    same = dict.fromkeys(holdout.names, USUAL)
    told: dict[str, tuple[Mapping[str, float], bool]] = {"all .25": (same, False), "all .25, one a place": (same, True)}
    told["one for all"] = learn_thresholds(holdout, found, costs, ALL_ALIKE), True
    for borrowed in (0.0, BORROWED):
        for caution in (0.0, 0.5, CAUTION):
            way = f"by class, {borrowed:g} borrowed, {caution:g} errors"
            told[way] = learn_thresholds(holdout, found, costs, borrowed, caution), True
    told["as the product, several a place"] = told[way][0], False
    return told


def counted(run: Trained, way: tuple[Mapping[str, float], bool], costs: Costs) -> Corrections:
    """What is corrected in the evaluation images."""
    least = np.array([way[0][name] for name in run.evaluation.names])
    return corrections(run.evaluation, [shown(one, least, alone=way[1]) for one in run.theirs], costs)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m bench.corrections", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default="0,1,2")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name in given.sets.split(","):
        for share in SHARES:
            runs = [trained(name, share, int(seed), given.out) for seed in given.seeds.split(",")]
            for label, costs in COSTS.items():
                key = f"{name}, {len(runs[0].holdout)} held out{label}"
                print(key, flush=True)
                figures[key] = {}
                of_runs = [ways(run.holdout, run.found, costs) for run in runs]
                for way in of_runs[0]:
                    told = [counted(run, of[way], costs) for run, of in zip(runs, of_runs, strict=True)]
                    mean = {part: round(float(np.mean([getattr(one, part) for one in told])), 2) for part in PARTS}
                    figures[key][way] = mean
                    print(f"  {way:36}" + "  ".join(f"{part} {value:6.2f}" for part, value in mean.items()), flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

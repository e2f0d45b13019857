"""From which distance on is another picture of the same scene?

    python -m bench.curves --out OUT --sets wild-cards,wild-bccd,wild-scenes --strategies random
    python -m bench.near_copies --out OUT --sets wild-cards,wild-bccd,wild-scenes --seeds 0,1       # seconds

For the pool that the first model of each set and seed leaves: the share of its images whose nearest other one lies
within some distances, in shares of the median distance of two images; how many of these are of one scene with it, where
a pool as it comes says so; and the share with a twin, by which the product tells pools that hold scenes again and
again. The last line is JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import numpy as np

from agent.pool.newness import REACH, TWIN, reach_of, share_of_twins
from agent.pool.pool import Pool
from bench.choosers import pool_of
from bench.curves import directory_of
from bench.kept_curves import Kept
from bench.wild_pool import scenes_of

WITHIN = (0.1, TWIN, 0.2, REACH, 0.29)  # at the last an image is half new


def near(pool: Pool, scenes: Mapping[int, int]) -> dict[str, dict[str, float]]:
    """By distance: the share of the pool that has another image within it, and of these the share of one scene with
    their nearest; without `scenes` (image -> scene) the first alone."""
    places = np.asarray(pool.standardised, np.float64)
    norms = np.square(places).sum(axis=1)
    squared = norms[:, None] + norms - 2 * places @ places.T
    np.fill_diagonal(squared, np.inf)
    nearest, distance = squared.argmin(axis=1), np.sqrt(np.maximum(squared.min(axis=1), 0)) * REACH / reach_of(places)
    scene = np.array([scenes.get(int(image), -1) for image in pool.ids])
    same = scene == scene[nearest]
    out = {}
    for within in WITHIN:
        inside = distance < within
        out[str(within)] = {"share": round(float(inside.mean()), 3)}
        if scenes and inside.any():
            out[str(within)]["of one scene"] = round(float(same[inside].mean()), 3)
    return out


def main(arguments: Sequence[str] | None = None) -> None:
    kept = Kept.asked("python -m bench.near_copies", __doc__, arguments)
    figures: dict[str, dict] = {}
    for name, runs in kept.runs("random"):
        scenes = scenes_of(directory_of(name, kept.out))
        for run in runs:
            pool = pool_of(run)
            key = f"{name}, seed {run.seed}"
            figures[key] = {"twins": round(share_of_twins(pool), 3), "within": near(pool, scenes)}
            told = [f"{within} {' / '.join(map(str, on.values()))}" for within, on in figures[key]["within"].items()]
            print(f"{key}: twins {figures[key]['twins']}; within " + "   ".join(told), flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

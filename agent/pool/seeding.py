"""k-means++ seeding: rows spread over a set, drawn with probability proportional to squared distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.pool.distances import squared_distances


@dataclass(frozen=True, eq=False)
class Seeding:
    """A k-means++ draw.

    Attributes:
        rows: (k,) int64, in the order drawn.
        distances: (k,) distance to the nearest centre just before the draw; for a very first centre, to `nearest`.
        uncovered: (k,) share in [0, 1] of the first draw's sum of squared distances that was left just before the
            draw; never rises. A very first centre has nothing before it and takes what it leaves behind: 1.
        remaining: (n,) share of that sum which each row still holds after the last draw.
        left: (n,) distance of each row to its nearest centre after the last draw.
    """

    rows: np.ndarray
    distances: np.ndarray
    uncovered: np.ndarray
    remaining: np.ndarray
    left: np.ndarray


def seed(x: np.ndarray, nearest: np.ndarray, anchored: bool, k: int, rng: np.random.Generator) -> Seeding:
    """Draw k <= n rows of x (n, D) by D^2 sampling (Arthur and Vassilvitskii, SODA 2007).

    Args:
        nearest: (n,) distances to the centres that exist already; where there are none, to any point of reference.
        anchored: whether centres exist. If not, the first row is drawn uniformly.

    A row at distance 0 is drawn only when all are, then uniformly. O(n k D) time, O(n) memory beside x.
    """
    squared = np.square(nearest)
    centres = np.zeros(len(x), bool)
    rows, distances, sums = [], [], []
    for turn in range(k):
        first = turn == 0 and not anchored
        mass = np.cumsum(squared, dtype=np.float64)
        if first:
            row = int(rng.integers(len(x)))
        elif mass[-1] > 0:
            row = int(np.searchsorted(mass / mass[-1], rng.random(), side="right"))
        else:
            row = int(rng.choice(np.flatnonzero(~centres)))
        rows.append(row)
        distances.append(np.sqrt(squared[row]))
        to_row = squared_distances(x, x[row])
        squared = to_row if first else np.minimum(squared, to_row)
        sums.append(np.cumsum(squared, dtype=np.float64)[-1] if first else mass[-1])
        centres[row] = True
    whole = sums[0] if sums else squared.sum(dtype=np.float64)
    scale = 1.0 / whole if whole > 0 else 0.0
    return Seeding(
        rows=np.array(rows, np.int64),
        distances=np.array(distances),
        uncovered=np.array(sums) * scale,
        remaining=squared.astype(np.float64) * scale,
        left=np.sqrt(squared),
    )

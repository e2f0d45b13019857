"""Core-set: k-centre greedy, each pick the image farthest from everything labeled or picked so far."""

from __future__ import annotations

import numpy as np

from agent.pool.distances import squared_distances
from agent.pool.pool import Pool
from agent.strategies.base import Strategy, centre, register


@register
class CoreSet(Strategy):
    """k-centre greedy of Sener and Savarese (ICLR 2018, algorithm 1), at most twice the optimal covering radius.

    The score is the distance to the nearest labeled or already chosen image at the time of the pick; after the batch,
    the distance that is left. With nothing labeled the first pick is the image nearest to the pool's mean, and takes
    the second one's score. O(n * budget * D) time, O(n) memory beside the encodings.
    """

    name = "coreset"

    def arrange(
        self,
        pool: Pool,
        budget: int,
        rng: np.random.Generator,  # noqa: ARG002  nothing is left to chance
    ) -> tuple[np.ndarray, np.ndarray, list[str]]:
        x, anchored = pool.standardised, len(pool.labeled_encodings) > 0
        nearest = np.square(pool.column("novelty"))  # to the labeled images, or to the mean where there are none
        rows: list[int] = []
        picked: list[float] = []
        for turn in range(budget):
            first = turn == 0 and not anchored
            row = int(nearest.argmin() if first else nearest.argmax())
            rows.append(row)
            picked.append(float(nearest[row]))
            fresh = squared_distances(x, x[row])
            nearest = fresh if first else np.minimum(nearest, fresh)
            nearest[row] = -1.0  # below any distance: duplicates of it at 0 still come, it does not
        reasons = [f"pick {k + 1}: distance {d**0.5:.2f} to {centre(pool, k)}" for k, d in enumerate(picked)]
        if budget and not anchored:
            reasons[0] = (
                f"pick 1: nearest to the pool's mean (distance {picked[0] ** 0.5:.2f}), as nothing is labeled yet"
            )
            picked[0] = max(float(nearest.max()), 0.0) if budget == 1 else picked[1]
        rest = np.setdiff1d(np.arange(len(pool)), rows)
        rest = rest[np.lexsort((pool.ids[rest], -nearest[rest]))]
        reasons += [f"distance {d:.2f} to {centre(pool, budget)}" for d in np.sqrt(nearest[rest])]
        return np.concatenate([rows, rest]).astype(np.int64), np.sqrt([*picked, *nearest[rest]]), reasons

"""k-means++: a batch spread over the pool, drawn with probability proportional to squared distance. The cold start."""

from __future__ import annotations

import numpy as np

from agent.pool.pool import Pool
from agent.pool.seeding import seed
from agent.strategies.base import Strategy, centre, register


@register
class KMeansPlusPlus(Strategy):
    """k-means++ seeding on encodings; labeled images are centres that were chosen before.

    Less drawn to outliers than core-set, because a dense region weighs as much as a far one. The score is the share of
    the pool's spread (sum of squared distances to the nearest centre) that was left just before the pick. After the
    batch: the share that the image itself still holds, so the farthest comes next.
    """

    name = "kmeanspp"

    def arrange(self, pool: Pool, budget: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, list[str]]:
        anchored = len(pool.labeled_encodings) > 0
        draw = seed(pool.standardised, pool.column("novelty"), anchored, budget, rng)
        reasons = [
            f"pick {k + 1}: distance {d:.2f} to {centre(pool, k)}, with {share:.0%} of the pool's spread uncovered"
            for k, (d, share) in enumerate(zip(draw.distances, draw.uncovered, strict=True))
        ]
        if budget and not anchored:
            reasons[0] = f"pick 1: drawn at random among {len(pool)} images, as nothing is labeled yet"
        rest = np.setdiff1d(np.arange(len(pool)), draw.rows)
        rest = rest[np.lexsort((pool.ids[rest], -draw.remaining[rest]))]
        reasons += [f"distance {d:.2f} to {centre(pool, budget)}" for d in draw.left[rest]]
        scores = np.concatenate([draw.uncovered, draw.remaining[rest]])
        return np.concatenate([draw.rows, rest]), scores, reasons

"""k-means++: a batch spread over the pool, drawn with probability proportional to squared distance. The cold start."""

from __future__ import annotations

import numpy as np

from agent.pool.pool import Pool
from agent.pool.seeding import seed
from agent.strategies.base import Arrangement, Strategy, register
from agent.strategies.explain import Sentences, distance


@register
class KMeansPlusPlus(Strategy):
    """k-means++ seeding on encodings; labeled images are centres that were chosen before.

    Less drawn to outliers than core-set, because a dense region weighs as much as a far one. The score is the share of
    the pool's spread (sum of squared distances to the nearest centre) that was left just before the pick. After the
    batch: the share that the image itself still holds, so the farthest comes next.
    """

    name = "kmeanspp"

    def arrange(self, pool: Pool, budget: int, rng: np.random.Generator) -> Arrangement:
        anchored = len(pool.labeled_encodings) > 0
        draw = seed(pool.standardised, pool.column("novelty"), anchored, budget, rng)
        rest = np.setdiff1d(np.arange(len(pool)), draw.rows)
        rest = rest[np.lexsort((pool.ids[rest], -draw.remaining[rest]))]

        def reason(place: int) -> str:
            if place >= budget:
                return distance(pool, float(draw.left[rest[place - budget]]), budget)
            if place == 0 and not anchored:
                return f"choice 1: drawn by chance among {len(pool)} images, as nothing is labeled yet"
            away, share = distance(pool, float(draw.distances[place]), place), draw.uncovered[place]
            return f"choice {place + 1}: {away}, while {share:.0%} of the differences in the pool were not covered"

        scores = np.concatenate([draw.uncovered, draw.remaining[rest]])
        return Arrangement(np.concatenate([draw.rows, rest]), scores, Sentences(len(pool), reason))

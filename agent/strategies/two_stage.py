"""Two stages: the most uncertain images are the candidates, a spread of them is the batch. After PPAL."""

from __future__ import annotations

import numpy as np

from agent.pool.pool import Pool
from agent.pool.seeding import seed
from agent.strategies.base import Arrangement, Strategy, descending, register
from agent.strategies.explain import NOTHING, Sentences, distance

EXPANSION = 4


@register
class TwoStage(Strategy):
    """After PPAL (Yang, Huang and Crowley, CVPR 2024), with its constants.

    1. The 4 * budget images of the highest class-weighted entropy (`weighted_entropy`) are the candidates.
    2. k-means++ draws `budget` of them. The rest of the pool follows by weighted entropy.

    Four things differ from PPAL. A class is as difficult as its AP on the holdout is low. Images are compared by their
    encoding, where PPAL matches their boxes' features class by class: an encoding is at hand from any detector. Labeled
    images are centres from the start, so that the batch spreads away from them too. The seeds are the batch, where
    PPAL's public code still moves them to the medoids of their clusters.

    The score is 1 + the share of the candidates' spread that was uncovered before the pick; after the batch, the
    weighted entropy as a fraction of the pool's highest.
    """

    name = "two_stage"

    def arrange(self, pool: Pool, budget: int, rng: np.random.Generator) -> Arrangement:
        entropy = pool.column("weighted_entropy").astype(np.float64)
        ranked = descending(pool, entropy)
        place = np.empty(len(pool), np.int64)
        place[ranked] = np.arange(1, len(pool) + 1)
        candidates = ranked[: EXPANSION * budget]
        anchored = len(pool.labeled_encodings) > 0
        draw = seed(pool.standardised[candidates], pool.column("novelty")[candidates], anchored, budget, rng)
        batch = candidates[draw.rows]
        rest = ranked[~np.isin(ranked, batch)]
        rows = np.concatenate([batch, rest])

        def reason(k: int) -> str:
            row = rows[k]
            head = "the detector is unsure about its boxes:" if entropy[row] > 0 else f"{NOTHING};"
            words = f"{head} class-weighted entropy {entropy[row]:.2f} nats, place {place[row]} of {len(pool)}"
            return f"{words}; {distance(pool, draw.distances[k], k)}" if k < budget else words

        highest = entropy.max()
        below = entropy[rest] / highest if highest > 0 else np.zeros(len(rest))
        scores = np.concatenate([1 + draw.uncovered, below])
        return Arrangement(rows, scores, Sentences(len(pool), reason))

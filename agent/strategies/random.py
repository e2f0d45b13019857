"""Random order: what every other strategy has to beat."""

from __future__ import annotations

import numpy as np

from agent.pool.pool import Pool
from agent.strategies.base import Arrangement, Strategy, register
from agent.strategies.explain import Sentences


@register
class Random(Strategy):
    """Every order is equally likely. The score is the image's draw from [0, 1)."""

    name = "random"

    def arrange(
        self,
        pool: Pool,
        budget: int,  # noqa: ARG002  the whole pool is in order, whatever the budget
        rng: np.random.Generator,
    ) -> Arrangement:
        draws = rng.random(len(pool))
        rows = np.argsort(-draws)
        scores = draws[rows]
        reasons = Sentences(len(rows), lambda place: f"drawn by chance: its number is {scores[place]:.3f}")
        return Arrangement(rows, scores, reasons)

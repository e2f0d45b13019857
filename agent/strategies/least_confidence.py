"""Least confidence: images in which even the surest box is doubtful."""

from __future__ import annotations

import numpy as np

from agent.pool.pool import Pool
from agent.strategies.base import Pointwise, register
from agent.strategies.explain import nothing_found


@register
class LeastConfidence(Pointwise):
    """Score: 1 - the highest box score of the image (`least_confidence`); 0 where no box was found."""

    name = "least_confidence"

    def score(self, pool: Pool) -> np.ndarray:
        return pool.column("least_confidence")

    def reason(self, pool: Pool, row: int) -> str:
        best = 1 - pool.column("least_confidence")[row]
        return nothing_found(pool, row) or f"the detector is not sure of any box: the best one scores {best:.2f}"

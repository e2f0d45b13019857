"""Entropy: images whose boxes are the least decided, on average."""

from __future__ import annotations

import numpy as np

from agent.pool.pool import Pool
from agent.strategies.base import Pointwise, register
from agent.strategies.explain import nothing_found


@register
class Entropy(Pointwise):
    """Score: mean over boxes of the entropy of their class scores, in nats (`mean_entropy`).

    The mean, because a sum asks for crowded images, which cost the annotator more, and a maximum is near its ceiling in
    most images that hold several boxes.
    """

    name = "entropy"

    def score(self, pool: Pool) -> np.ndarray:
        return pool.column("mean_entropy")

    def reason(self, pool: Pool, row: int) -> str:
        mean, largest = pool.column("mean_entropy")[row], pool.column("max_entropy")[row]
        return nothing_found(pool, row) or (
            f"the detector is unsure about its boxes: mean entropy {mean:.2f} nats, largest {largest:.2f}"
        )

"""Random order: what every other strategy has to beat."""

from __future__ import annotations

import numpy as np

from agent.pool.pool import Pool
from agent.strategies.base import Strategy, register


@register
class Random(Strategy):
    """Every order is equally likely. The score is the image's draw from [0, 1)."""

    name = "random"

    def arrange(
        self,
        pool: Pool,
        budget: int,  # noqa: ARG002  the whole pool is in order, whatever the budget
        rng: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray, list[str]]:
        draws = rng.random(len(pool))
        rows = np.argsort(-draws)
        return rows, draws[rows], [f"drawn at random (draw {draw:.3f})" for draw in draws[rows]]

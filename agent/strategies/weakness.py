"""Weakness: images that seem to hold what the detector is worst at."""

from __future__ import annotations

import numpy as np

from agent.pool.pool import Pool
from agent.strategies.base import Pointwise, register
from agent.strategies.explain import contents, nothing_found


@register
class Weakness(Pointwise):
    """Score: expected boxes of each class, weighted by 1 - AP of the class (`weakness`).

    mAP is a mean over classes: one more box of a class with a low AP can move it more than one of a class that is
    already found. A class of unknown AP counts as AP 0, see `agent.pool.descriptors.weakness_of`.
    """

    name = "weakness"

    def score(self, pool: Pool) -> np.ndarray:
        return pool.column("weakness")

    def reason(self, pool: Pool, row: int) -> str:
        score = pool.column("weakness")[row]
        return nothing_found(pool, row) or (f"{contents(pool, row)}; weighted by weakness, its boxes count {score:.2f}")

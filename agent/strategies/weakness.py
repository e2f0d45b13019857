"""Weakness: images that seem to hold what the detector is worst at."""

from __future__ import annotations

import numpy as np

from agent.pool.descriptors import weakness_of
from agent.pool.pool import Pool
from agent.strategies.base import Pointwise, nothing_found, register


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
        if empty := nothing_found(pool, row):
            return empty
        worst = int(np.argmax(pool.expected[row] * weakness_of(pool.class_ap)))
        ap = pool.class_ap[worst]
        known = f"AP {ap:.2f}" if ap >= 0 else "AP not measured yet"
        return f"weak class '{pool.names[worst]}' ({known}): {pool.expected[row, worst]:.1f} expected boxes"

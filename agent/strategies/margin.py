"""Margin: images whose boxes hesitate between two classes."""

from __future__ import annotations

import numpy as np

from agent.pool.pool import Pool
from agent.strategies.base import Pointwise, register
from agent.strategies.explain import nothing_found


@register
class Margin(Pointwise):
    """Score: 1 - the mean margin between the best two class scores of a box (`margin`); 0 where no box was found.

    After the 1-vs-2 margin with the average over an image of Brust, Käding and Denzler (VISAPP 2019).
    """

    name = "margin"

    def score(self, pool: Pool) -> np.ndarray:
        return 1 - pool.column("margin")

    def reason(self, pool: Pool, row: int) -> str:
        margin = pool.column("margin")[row]
        return nothing_found(pool, row) or (
            f"the detector hesitates between classes: the scores of a box's best two are {margin:.2f} apart on average"
        )

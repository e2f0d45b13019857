"""How much there is to learn in a picture, told by how undecided the detector is about its boxes.

Where pools hold the same scenes again and again, whole trainings gain more from an order by this than from one by
expected boxes, and what they reached is told nearly as well by this as by the true boxes. Of several frames the one
whose boxes are overestimated most comes first, and doubt is overestimated less. Where every picture is another one,
they gain more from an order by expected boxes (docs/RESULTS.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.pool.newness import share_of_twins
from agent.pool.phi import Phi
from agent.pool.pool import Pool

DOUBT = "weighted_entropy"
MANY_TWINS = 1 / 4
"""Share of a pool's images that are frames of one scene with another, from which on it holds scenes again and again.
Three curated sets have up to .18, three pools as they come from .32 on (docs/RESULTS.md)."""


def content_of(pool: Pool, phi: Phi, twins: float | None = None) -> Content | None:
    """What an image of a pool counts for, which `phi` describes; None where that is its expected boxes.

    Args:
        twins: the pool's share of them, where it is known already.
    """
    share = share_of_twins(pool) if twins is None else twins
    return Content.of(pool, phi) if share >= MANY_TWINS else None


@dataclass(frozen=True)
class Content:
    """The boxes that an image counts for: level log(1 + u / usual), u the class-weighted entropy summed over its boxes
    (`agent.pool.descriptors.weigh`). The classes share them as they share its expected boxes.

    An image of average doubt, one of ten times as much, and one where the detector sees nothing:

        >>> content = Content(column=0, centre=0.0, scale=1.0, usual=2.0, level=3.0)
        >>> expected = np.array([[1.0, 3.0], [40.0, 0.0], [0.0, 0.0]])
        >>> content.counted(expected, np.array([[2.0], [20.0], [0.0]])).round(2).tolist()
        [[0.52, 1.56], [7.19, 0.0], [0.0, 0.0]]

    Attributes:
        column: of φ that holds u, standardised; centre, scale: of this column, as in `Phi`.
        usual: mean of u over the pool: a detector that emits twice as many boxes on every picture changes nothing.
        level: so that the pool's images count together for as many boxes as are expected in them.
    """

    column: int
    centre: float
    scale: float
    usual: float
    level: float

    @classmethod
    def of(cls, pool: Pool, phi: Phi) -> Content | None:
        """Of a pool that `phi` describes; None where no box is in doubt, and the expected boxes themselves count."""
        column, u = phi.columns.index(DOUBT), pool.column(DOUBT).astype(np.float64)
        usual = float(u.mean()) if len(u) else 0.0
        if not usual > 0:
            return None
        level = float(pool.expected.sum(dtype=np.float64) / np.log1p(u / usual).sum())
        return cls(column, float(phi.centre[column]), float(phi.scale[column]), usual, level)

    def counted(self, expected: np.ndarray, phi: np.ndarray) -> np.ndarray:
        """(n, C) boxes that images count for, from the expected ones (n, C) and their descriptions (n, F)."""
        spread = np.asarray(phi, np.float64)[:, self.column] * (self.scale > 0) / (self.scale or 1.0)
        counts = self.level * np.log1p(np.maximum(spread + self.centre, 0.0) / self.usual)
        total = expected.sum(axis=1)
        return expected * np.where(total > 0, counts / np.where(total > 0, total, 1.0), 0.0)[:, None]

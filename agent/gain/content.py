"""How much there is to learn in a picture, told by how undecided the detector is about its boxes.

Expected boxes alone ask for the fullest pictures. But what a training gains from a picture grows more slowly than its
boxes, and boxes that the detector is sure of teach it less: what whole trainings reached is told better by this than
by expected boxes, and nearly as well as by the true ones (`python -m bench.what_helps`, docs/RESULTS.md).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.pool.phi import Phi
from agent.pool.pool import Pool

DOUBT = "weighted_entropy"


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

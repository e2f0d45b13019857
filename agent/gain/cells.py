"""Cells: a soft partition of a pool by what its images look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.gain.rows import BASIS_COLUMNS
from agent.pool.seeding import seed

SAMPLE = 4096
"""Images of the pool among which cells are sought."""

ROUNDS = 25  # of k-means, at most

TEMPERATURE = 0.1
"""Of the soft assignment: an image whose second cell is further by a tenth of the mean squared distance to the nearest
cell belongs e^-1 as much to the second as to the first."""


@dataclass(frozen=True, eq=False)
class Cells:
    """A soft partition of the pool.

    Attributes:
        centres: (M, f) float64.
        scale: the squared distance that divides by e.
        columns: (f,) int64, those of φ that are compared.
    """

    centres: np.ndarray
    scale: float
    columns: np.ndarray

    @classmethod
    def fit(cls, phi: np.ndarray, rng: np.random.Generator, cells: int, columns: Sequence[str] = ()) -> Cells:
        """k-means (Lloyd) from a k-means++ seeding, on at most SAMPLE images of phi (n, F).

        Where some of the named columns are components of the encoding, only these are compared: what images look like.

        Fewer cells where there are fewer different images. Raises ValueError on an empty pool.
        """
        if len(phi) == 0:
            raise ValueError("the pool has no images to find cells in: fit a gain table only where some are left")
        components = [k for k, name in enumerate(columns) if name.startswith(BASIS_COLUMNS)]
        compared = np.array(components or range(phi.shape[1]), np.int64)
        x = np.asarray(phi[np.linspace(0, len(phi) - 1, min(len(phi), SAMPLE)).round().astype(np.int64)], np.float64)[
            :, compared
        ]
        seeding = seed(x.astype(np.float32), np.ones(len(x)), False, min(cells, len(x)), rng)
        centres = np.unique(x[seeding.rows], axis=0)
        for _ in range(ROUNDS):
            nearest = _squared(x, centres).argmin(axis=1)
            members = np.eye(len(centres))[nearest]
            sizes = np.maximum(members.sum(axis=0), 1)[:, None]
            means = np.where(members.any(axis=0)[:, None], members.T @ x / sizes, centres)
            if np.array_equal(means, centres):
                break
            centres = means
        return cls(centres, TEMPERATURE * max(float(_squared(x, centres).min(axis=1).mean()), 1e-6), compared)

    def share(self, phi: np.ndarray) -> np.ndarray:
        """(n, M) how far each image belongs to each cell; rows sum to 1."""
        distance = _squared(np.asarray(phi, np.float64)[:, self.columns], self.centres) / self.scale
        likely = np.exp(distance.min(axis=1, keepdims=True) - distance)
        return likely / likely.sum(axis=1, keepdims=True)


def _squared(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(n, M) squared distances."""
    cross = x @ centres.T
    return np.maximum(np.square(x).sum(axis=1)[:, None] - 2 * cross + np.square(centres).sum(axis=1), 0.0)

"""A gain model whose best batch is known: for what the policy's tests and benches compare it with."""

from __future__ import annotations

import numpy as np

from agent.gain.model import GainModel

FEATURES, CELLS, BUDGET = 25, 30, 50


class PlantedTable(GainModel):
    """Known gains: Σ_c height_c (1 - exp(-n_c / decay_c)), n_c images in the cell of the nearest centre.

    The standard deviation is a tenth of the mean, so that the lower bound is separable and concave too, and greedy
    choice of a batch is exactly optimal.
    """

    def __init__(self, centres: np.ndarray, heights: np.ndarray, decays: np.ndarray) -> None:
        self.centres, self.heights, self.decays = centres, heights, decays

    @classmethod
    def draw(cls, cells: int, features: int, rng: np.random.Generator) -> PlantedTable:
        """Centres 2 apart from 0 in the root mean square, heights from 0.2 to 1, decays from 1 to 5 images."""
        centres = 2 * rng.normal(size=(cells, features)).astype(np.float32)
        return cls(centres, rng.uniform(0.2, 1.0, cells), rng.uniform(1.0, 5.0, cells))

    def images(self, n: int, noise: float, rng: np.random.Generator) -> np.ndarray:
        """(n, F) float32 descriptions: a random cell's centre and normal noise."""
        chosen = self.centres[rng.integers(len(self.centres), size=n)]
        return chosen + np.float32(noise) * rng.standard_normal(chosen.shape, np.float32)

    def codes(self, phi: np.ndarray) -> np.ndarray:
        squared = np.square(self.centres).sum(axis=1) - 2 * phi @ self.centres.T
        return np.eye(len(self.centres), dtype=np.float32)[squared.argmin(axis=1)]

    def draws(self, sums: np.ndarray) -> np.ndarray:
        gains = (self.heights * (1 - np.exp(-sums / self.decays))).sum(axis=1)
        return gains[:, None] * (1 + np.array([-0.1, 0.1]) / np.sqrt(2))

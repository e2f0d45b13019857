"""Pools whose gains are known, for the other tests: images in clusters, batches measured by a planted function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from agent.gain.rows import Row, Rows
from agent.pool.phi import Phi

Gain = Callable[[np.ndarray], float]


@dataclass(frozen=True, eq=False)
class World:
    """phi: (n, F) float32 standardised; label: (n,) the cluster of each image."""

    phi: np.ndarray
    label: np.ndarray

    def described(self) -> Phi:
        """The images as a pool's description: standardised already."""
        width = self.phi.shape[1]
        return Phi(tuple(f"c{k}" for k in range(width)), self.phi, np.zeros(width), np.ones(width))

    def batch(self, rng: np.random.Generator, smallest: int = 10, largest: int = 50) -> np.ndarray:
        """Image rows of a batch that prefers some clusters."""
        share = rng.dirichlet(np.full(self.label.max() + 1, 0.5))[self.label] + 1e-9
        return rng.choice(len(self.phi), rng.integers(smallest, largest + 1), replace=False, p=share / share.sum())

    def row(self, batch: np.ndarray, gain: float, error: float = 0.0, group: str = "a", cycle: int = 1) -> Row:
        """A hindsight row."""
        columns = tuple(f"c{k}" for k in range(self.phi.shape[1]))
        return Row(batch, self.phi[batch], gain, error, "hindsight", group, cycle, columns)

    def measure(self, n: int, gain: Gain, noise: float, rng: np.random.Generator) -> Rows:
        """n rows of one group."""
        batches = [self.batch(rng) for _ in range(n)]
        return Rows(self.row(b, gain(b) + noise * rng.normal(), noise) for b in batches)


def world(rng: np.random.Generator, images: int = 400, clusters: int = 6, width: int = 10) -> World:
    """Clusters that are well apart."""
    centres = rng.normal(size=(clusters, width)) * 2
    label = np.arange(images) % clusters
    phi = centres[label] + rng.normal(size=(images, width)) * 0.3
    return World(((phi - phi.mean(axis=0)) / phi.std(axis=0)).astype(np.float32), label)


def concave(where: World, rng: np.random.Generator) -> Gain:
    """Each cluster teaches height (1 - e^(-n / decay)): separable and concave."""
    clusters = where.label.max() + 1
    height, decay = rng.uniform(0.1, 1, clusters) * 0.01, rng.uniform(2, 8, clusters)
    return lambda batch: float(height @ (1 - np.exp(-np.bincount(where.label[batch], minlength=clusters) / decay)))


def test_the_tenth_similar_image_teaches_less_than_the_first() -> None:
    rng = np.random.default_rng(0)
    w = world(rng)
    gain, similar = concave(w, rng), np.flatnonzero(w.label == 0)
    assert gain(similar[:1]) > gain(similar[:10]) - gain(similar[:9]) > 0

"""What curves say: their area, the labels that a strategy saves, and how sure either is.

A curve is mAP at labeled images (or boxes, or minutes of labeling). Uncertainty is the paired bootstrap's over the two
things that were drawn: seeds, and evaluation images. All strategies are measured on the same draws, so that what makes
a seed or an image hard cancels in their differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from agent.costs import LabelingCosts
from agent.match_table import MatchTable

RESAMPLES = 1000
LEVEL = 0.95


def area(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mean height of the curves y (..., K) over x (K,), rising: the trapezoid rule over the range of x."""
    return np.trapezoid(y, x, axis=-1) / (x[-1] - x[0])


def labels_needed(x: np.ndarray, y: np.ndarray, target: float) -> float:
    """The least x at which a curve y (K,) over x (K,), straight between its points, reaches `target`; inf if never."""
    if y[0] >= target:
        return float(x[0])
    for k in range(1, len(x)):
        if y[k] >= target:
            return float(x[k - 1] + (x[k] - x[k - 1]) * (target - y[k - 1]) / (y[k] - y[k - 1]))
    return float("inf")


@dataclass(frozen=True, eq=False)
class Curves:
    """The curves of S strategies under D seeds at K points.

    Attributes:
        names: the strategies.
        labeled: (K,) labeled images at each point.
        boxes: (S, D, K) boxes in them.
        maps: (S, D, K) mAP.
        resampled: (R, S, D, K) mAP on R resamples of the evaluation images, the same ones everywhere.
        costs: what labeling is taken to cost.
    """

    names: tuple[str, ...]
    labeled: np.ndarray
    boxes: np.ndarray
    maps: np.ndarray
    resampled: np.ndarray
    costs: LabelingCosts = field(default_factory=LabelingCosts)

    def resampled_means(self) -> np.ndarray:
        """(R, S, K) mean curves, each over seeds drawn with replacement and resampled images."""
        rng = np.random.default_rng(0)
        count, _, seeds, _ = self.resampled.shape
        times = rng.multinomial(seeds, np.full(seeds, 1 / seeds), count) / seeds
        return np.einsum("rsdk,rd->rsk", self.resampled, times)

    @property
    def mean(self) -> np.ndarray:
        """(S, K) over the seeds."""
        return self.maps.mean(axis=1)

    def needed(self, curves: np.ndarray, reference: int) -> np.ndarray:
        """(S,) labels that curves (S, K) need for the final mAP of strategy `reference`, over those that it has."""
        target = float(curves[reference, -1])
        return np.array([labels_needed(self.labeled, curve, target) for curve in curves]) / self.labeled[-1]

    @property
    def minutes(self) -> np.ndarray:
        """(S, D, K) of labeling at each point."""
        return self.costs.minutes(self.labeled, self.boxes)

    def area_by(self, spent: np.ndarray) -> np.ndarray:
        """(S,) mean height over what was spent (S, D, K) instead of images, `boxes` or `minutes`, as far as all
        strategies go; nan where nothing was spent after the start."""
        x, maps = spent.mean(axis=1), self.mean
        end = x[:, -1].min()
        if end <= x[:, 0].max():
            return np.full(len(x), np.nan)
        grid = np.linspace(x[:, 0].max(), end, 200)
        return np.array([area(grid, np.interp(grid, one, m)) for one, m in zip(x, maps, strict=True)])


def resample(tables: Sequence[MatchTable], resamples: int = RESAMPLES) -> np.ndarray:
    """(R, T) mAP of T tables of the same images, each on the same R resamples."""
    images = len(tables[0])
    weights = np.random.default_rng(0).multinomial(images, np.full(images, 1 / images), resamples)
    return np.stack([table.evaluate_many(weights).map for table in tables], axis=1)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The percentile interval of LEVEL."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")  # inf stays inf
    return float(low), float(high)

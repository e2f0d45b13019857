"""How new each image is beside those that are labeled or chosen: of near-copies all but one teach hardly anything."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from agent.pool.distances import REFERENCES, nearest_distances
from agent.pool.pool import Pool
from agent.pool.reduction import chunks, evenly

SAMPLE = 512  # images of which each two are compared for the reach
REACH = 0.25  # of the median distance of two images of the pool
TWIN = 0.15  # of the median distance: within it two images are frames of one scene
COPY = 1 - math.exp(-((TWIN / REACH) ** 2) / 2)
"""A twin's newness, .16: people are told that an image is nearly the same picture where it is less new. At ALIKE they
would be told so of most images of a curated set (docs/RESULTS.md)."""
ALIKE = 0.5  # an image that is less new than this waits behind the others: a wrong guess costs it only its place


@dataclass(frozen=True, eq=False)
class Newness:
    """1 - exp(-d^2 / 2 r^2), d the distance in the pool's standardised encodings to the nearest image that is labeled
    or was chosen before, r a quarter of the median distance of two images of the pool.

    A frame of a scene that is labeled counts next to nothing, an image without its like counts once. Nothing is tuned
    to a project: how far apart two images of it usually are says what is near.

    Three images on a line, of which the first two are nearly the same; nothing is labeled:

        >>> newness = Newness(np.array([[0.0], [0.1], [9.0]], np.float32), np.ones(3, np.float32), reach=1.0)
        >>> newness.of_each(np.array([0, 1, 2])).round(3).tolist()
        [1.0, 0.005, 1.0]

    Attributes:
        places: (n, D) float32 standardised encodings, in memory or memory-mapped.
        beside_labeled: (n,) float32 in [0, 1], the newness of each image before any is chosen.
        reach: r.
    """

    places: np.ndarray
    beside_labeled: np.ndarray
    reach: float

    @classmethod
    def of(cls, pool: Pool) -> Newness:
        """Of a pool beside its labeled images."""
        places, reach = pool.standardised, reach_of(pool.standardised)
        if len(pool.labeled_encodings) == 0:
            return cls(places, np.ones(len(pool), np.float32), reach)
        return cls(places, newness(np.square(pool.column("novelty")), reach).astype(np.float32), reach)

    def of_each(self, rows: np.ndarray) -> np.ndarray:
        """(..., B) newness of each image of batches of rows (..., B) beside the labeled ones and those before it."""
        own = self.beside_labeled[rows]
        if rows.shape[-1] < 2:
            return own.astype(np.float64)
        between = self.between(rows)
        size = rows.shape[-1]
        between[..., np.triu(np.ones((size, size), bool))] = 1.0  # itself, and those behind it
        return np.minimum(own, between.min(axis=-1))

    def between(self, rows: np.ndarray) -> np.ndarray:
        """(..., T, T) newness of the first image beside the second, of each two of rows (..., T)."""
        x = np.asarray(self.places[rows], np.float32)
        norms = np.square(x).sum(axis=-1)
        squared = norms[..., :, None] + norms[..., None, :] - 2 * (x @ x.swapaxes(-1, -2))
        return newness(np.maximum(squared, 0.0), self.reach)

    def beside(self, row: int, rows: np.ndarray) -> np.ndarray:
        """(k,) newness of images beside the one of `row`."""
        difference = np.asarray(self.places[rows], np.float32) - self.places[row]
        return newness(np.einsum("ij,ij->i", difference, difference), self.reach)

    def beside_all(self, batch: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(k,) newness of images (k,) beside the labeled ones and a whole batch (B,)."""
        new = self.beside_labeled[rows].astype(np.float64)
        if len(batch) and len(rows):
            distance = nearest_distances(self.places[rows], np.asarray(self.places[batch]), 1)[:, 0]
            new = np.minimum(new, newness(np.square(distance), self.reach))
        return new

    def copies_of_labeled(self) -> float:
        """Share of the images that are nearly the same picture as a labeled one."""
        return float((self.beside_labeled < COPY).mean()) if len(self.beside_labeled) else 0.0

    def copies_of_others(self) -> float:
        """Share of the images that are nearly the same picture as another one that is not labeled.

        Of a large pool the nearest is sought among 4,096 evenly spaced images, so that copies are missed.
        """
        rows = evenly(len(self.places), REFERENCES)
        if len(rows) < 2:
            return 0.0
        some = np.asarray(self.places[rows], np.float32)
        nearest = nearest_distances(some, some, 1, rows=np.arange(len(rows)))[:, 0]
        return float((newness(np.square(nearest), self.reach) < COPY).mean())

    def take(self, rows: np.ndarray | int) -> Newness:
        """Of these images only; the reach stays."""
        return Newness(np.asarray(self.places[rows]), self.beside_labeled[rows], self.reach)

    def best(self, grid: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
        """(count,) rows: an equal share of each sequence of rows (S, T), -1 beyond its end, by its scores (S, T).

        Of images that are ALIKE the best is taken, and the others only where nothing else is left.
        """
        share, extra = divmod(count, len(grid))
        takes = share + (np.arange(len(grid)) < extra)
        places = np.asarray(self.places[np.maximum(grid, 0)], np.float32)
        near = float(-2 * self.reach**2 * np.log(1 - ALIKE))  # ALIKE as a squared distance
        return grid[_best(scores.astype(np.float32), places, near, takes)]


def newness(squared: np.ndarray, reach: float) -> np.ndarray:
    """1 - exp(-d^2 / 2 r^2) of squared distances; where no image differs from another, whether they differ."""
    if reach <= 0:
        return (squared > 0).astype(np.float64)
    return -np.expm1(-squared.astype(np.float64) / (2 * reach**2))


def share_of_twins(pool: Pool) -> float:
    """Share of the images that have a twin, labeled or not: another one within TWIN of the median distance of two
    images. Of 512 evenly spaced images, each beside the whole pool; 0 below two images."""
    places = pool.standardised
    rows = evenly(len(places), SAMPLE)
    usual = reach_of(places) / REACH
    if len(rows) < 2 or usual <= 0:
        return 0.0
    some = np.asarray(places[rows], np.float32)
    norms, nearest = np.square(some).sum(axis=1), np.full(len(rows), np.inf, np.float32)
    for chunk in chunks(len(places)):
        x = np.asarray(places[chunk], np.float32)
        squared = norms[:, None] + np.square(x).sum(axis=1) - 2 * some @ x.T
        own = np.flatnonzero((rows >= chunk.start) & (rows < chunk.stop))
        squared[own, rows[own] - chunk.start] = np.inf
        nearest = np.minimum(nearest, squared.min(axis=1))
    distance = np.sqrt(np.maximum(nearest, 0.0))
    if len(pool.labeled_encodings):
        distance = np.minimum(distance, pool.column("novelty")[rows])
    return float((distance < TWIN * usual).mean())


def reach_of(places: np.ndarray) -> float:
    """A quarter of the median distance of two images, over 512 evenly spaced ones of (n, D); 0 below two images."""
    x = np.asarray(places[evenly(len(places), SAMPLE)], np.float64)
    if len(x) < 2:
        return 0.0
    norms = np.square(x).sum(axis=1)
    squared = norms[:, None] + norms - 2 * x @ x.T
    return REACH * float(np.sqrt(max(np.median(squared[np.triu_indices(len(x), 1)]), 0.0)))


@njit(cache=True, nogil=True)
def _best(scores: np.ndarray, places: np.ndarray, near: float, takes: np.ndarray) -> np.ndarray:
    """(S, T) bool, the takes[s] positions of each sequence: greedily by score, without those within `near` (a squared
    distance) of one taken before, and then with them."""
    count, length = scores.shape
    out = np.zeros((count, length), np.bool_)
    for s in range(count):
        order = np.argsort(-scores[s], kind="mergesort")
        taken = np.empty(length, np.int64)
        n = 0
        for k in order:
            if n == takes[s] or scores[s, k] == -np.inf:
                break
            copy = False
            for t in range(n):
                squared = np.float32(0)
                for d in range(places.shape[2]):
                    difference = places[s, k, d] - places[s, taken[t], d]
                    squared += difference * difference
                if squared <= near:
                    copy = True
                    break
            if not copy:
                taken[n] = k
                n += 1
                out[s, k] = True
        for k in order:
            if n == takes[s] or scores[s, k] == -np.inf:
                break
            if not out[s, k]:
                out[s, k] = True
                n += 1
    return out

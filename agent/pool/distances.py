"""Euclidean distances between reduced encodings, in time and memory that grow with the pool and not with its square."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from agent.pool.nearest import nearest
from agent.pool.reduction import chunks, evenly

CHUNK = 2048  # rows at a time
NEIGHBOURS = 10
LARGE = 100_000  # images; a larger pool is compared with fewer references
REFERENCES, REFERENCES_OF_LARGE = 4096, 1024
LABELED_OF_LARGE = 4096


def squared_distances(x: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(n,) float32 squared distances of x (n, D) to one centre (D,).

    By subtraction and not by |x|^2 - 2xc + |c|^2, so that a duplicate of the centre is at exactly 0.
    """
    out = np.empty(len(x), np.float32)
    for chunk in chunks(len(x), CHUNK):
        difference = x[chunk] - centre
        np.einsum("ij,ij->i", difference, difference, out=out[chunk])
    return out


def nearest_distances(x: np.ndarray, references: np.ndarray, k: int, *, rows: np.ndarray | None = None) -> np.ndarray:
    """(n, k) float32 distances of x (n, D) to their k nearest references (R, D), nearest first.

    `rows`, where given, are the references' own rows in x: no image is its own neighbour. k must not be larger than
    the number of references, or that less one with `rows`. Runs on all cores.
    """
    out = np.empty((len(x), k), np.float32)
    own = np.full(len(x), -1, np.int64)
    if rows is not None:
        own[rows] = np.arange(len(rows))
    across = np.ascontiguousarray(references.T, np.float32)

    def search(chunk: slice) -> None:
        nearest(np.ascontiguousarray(x[chunk], np.float32), across, own[chunk], out[chunk])

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(search, chunks(len(x), CHUNK)))
    return out


def novelty(x: np.ndarray, labeled: np.ndarray) -> np.ndarray:
    """(n,) distance of x (n, D) to the nearest of labeled (m, D); to the mean of x where m = 0.

    In a pool of more than 100,000 images the nearest is sought among 4,096 of the labeled ones, evenly spaced.
    """
    if len(labeled) == 0:
        return np.sqrt(squared_distances(x, _mean(x))) if len(x) else np.zeros(0, np.float32)
    if len(x) > LARGE:
        labeled = labeled[evenly(len(labeled), LABELED_OF_LARGE)]
    return nearest_distances(x, labeled, 1)[:, 0]


def density(x: np.ndarray) -> np.ndarray:
    """(n,) mean distance of x (n, D) to its 10 nearest among 4,096 evenly spaced rows; 0 for n < 2.

    Among 1,024 in a pool of more than 100,000 images.
    """
    rows = evenly(len(x), _references(x))
    k = min(NEIGHBOURS, len(rows) - 1)
    if k < 1:
        return np.zeros(len(x), np.float32)
    return nearest_distances(x, x[rows], k, rows=rows).mean(axis=1)


def _references(x: np.ndarray) -> int:
    return REFERENCES_OF_LARGE if len(x) > LARGE else REFERENCES


def _mean(x: np.ndarray) -> np.ndarray:
    return x.mean(axis=0, dtype=np.float64).astype(np.float32)

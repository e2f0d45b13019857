"""Euclidean distances between image encodings, in memory that does not grow with the square of the pool."""

from __future__ import annotations

import numpy as np

CHUNK = 2048  # rows at a time: against 4,096 references a block of distances takes 32 MiB
NEIGHBOURS = 10
REFERENCES = 4096


def standardise(encodings: np.ndarray, labeled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bring pool (n, D) and labeled (m, D) encodings into the space in which distances are taken.

    Every channel gets mean 0 and variance 1 / D over both sets together: channels of a network differ in scale by
    orders of magnitude, and the loudest would decide alone. A distance of 1 then means that two images differ by one
    standard deviation in the root mean square of their channels; two unrelated images lie about 1.4 apart. A channel
    that never varies becomes 0.

    Returns:
        Both as float32, of the same shapes.
    """
    count = len(encodings) + len(labeled)
    if count == 0:
        return encodings.astype(np.float32), labeled.astype(np.float32)
    mean = (encodings.sum(axis=0, dtype=np.float64) + labeled.sum(axis=0, dtype=np.float64)) / count
    variance = np.zeros_like(mean)
    for part in (encodings, labeled):
        for start in range(0, len(part), CHUNK):
            variance += np.square(part[start : start + CHUNK] - mean).sum(axis=0) / count
    spread = np.sqrt(variance)
    constant = spread <= 1e-6 * np.abs(mean)  # only float32's rounding varies there
    scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, spread * np.sqrt(max(len(mean), 1))))
    # The subtraction comes first: mean * scale would cancel in float32.
    mean32, scale32 = mean.astype(np.float32), scale.astype(np.float32)
    return (encodings - mean32) * scale32, (labeled - mean32) * scale32


def squared_distances(x: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """(n,) float32 squared distances of x (n, D) to one centre (D,).

    By subtraction and not by |x|^2 - 2xc + |c|^2, so that a duplicate of the centre is at exactly 0.
    """
    out = np.empty(len(x), np.float32)
    for start in range(0, len(x), CHUNK):
        difference = x[start : start + CHUNK] - centre
        np.einsum("ij,ij->i", difference, difference, out=out[start : start + CHUNK])
    return out


def nearest_distances(x: np.ndarray, references: np.ndarray, k: int, *, rows: np.ndarray | None = None) -> np.ndarray:
    """(n, k) float32 distances of x (n, D) to their k nearest references (R, D), in no order.

    `rows`, where given, are the references' own rows in x: no image is its own neighbour. k must not be larger than
    the number of references, or that less one with `rows`.

    The search takes the fast expansion |x|^2 - 2xr + |r|^2, whose rounding may swap neighbours that are equally far to
    six digits; the distances to those it finds are then taken by subtraction and are exact.
    """
    out = np.empty((len(x), k), np.float32)
    norms = np.einsum("ij,ij->i", references, references)
    for start in range(0, len(x), CHUNK):
        block = x[start : start + CHUNK]
        squared = norms - 2 * (block @ references.T)  # |x|^2 is the same along a row
        if rows is not None:
            inside = np.flatnonzero((rows >= start) & (rows < start + CHUNK))
            squared[rows[inside] - start, inside] = np.inf
        found = squared.argmin(axis=1)[:, None] if k == 1 else np.argpartition(squared, k - 1, axis=1)[:, :k]
        for column in range(k):
            difference = block - references[found[:, column]]
            out[start : start + CHUNK, column] = np.sqrt(np.einsum("ij,ij->i", difference, difference))
    return out


def novelty(x: np.ndarray, labeled: np.ndarray) -> np.ndarray:
    """(n,) distance of x (n, D) to the nearest of labeled (m, D); to the mean of x where m = 0."""
    if len(labeled) == 0:
        return np.linalg.norm(x - x.mean(axis=0), axis=1) if len(x) else np.zeros(0, np.float32)
    return nearest_distances(x, labeled, 1)[:, 0]


def density(x: np.ndarray, neighbours: int = NEIGHBOURS, references: int = REFERENCES) -> np.ndarray:
    """(n,) mean distance of x (n, D) to its nearest `neighbours` among `references` evenly spaced rows; 0 for n < 2."""
    rows = np.linspace(0, len(x) - 1, min(len(x), references)).round().astype(np.int64)
    k = min(neighbours, len(rows) - 1)
    if k < 1:
        return np.zeros(len(x), np.float32)
    return nearest_distances(x, x[rows], k, rows=rows).mean(axis=1)

"""How far the detector's expected boxes are believed: candidates for the laboratory (`bench.laboratory`)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from agent.pool.pool import Pool

PRIOR, IMAGES = 0.5, 5.0  # the slope that is believed before any image was held out, and how many weigh as much
PENALTIES = 10.0 ** np.arange(-2, 5)  # of the ridge


def slope(expected: np.ndarray, true: np.ndarray) -> float:
    """By how much an image's boxes differ from the mean where the expected ones differ by 1, in [0, 1]: least squares
    over (h, C) of images that the detector did not learn from, all classes together, each about its own mean."""
    if not len(expected):
        return PRIOR
    x, y = expected - expected.mean(axis=0), true - true.mean(axis=0)
    prior = IMAGES / len(expected) * float((x * x).sum())
    whole = float((x * x).sum()) + prior
    return float(np.clip((float((x * y).sum()) + PRIOR * prior) / whole, 0, 1)) if whole > 0 else PRIOR


def shrunk(pool: Pool, expected: np.ndarray, true: np.ndarray) -> Pool:
    """The pool with its expected boxes as near to their mean as held-out images (h, C) say."""
    mean = pool.expected.mean(axis=0)
    return replace(pool, expected=mean + np.float32(slope(expected, true)) * (pool.expected - mean))


def second_look(pool: Pool, true: np.ndarray) -> Pool:
    """The pool with the mean of its expected boxes and of what a ridge tells from the encodings, fitted to the boxes
    (m, C) of the labeled images; the penalty is that with the smallest error of leaving one out."""
    x, y = np.asarray(pool.labeled_standardised, np.float64), np.asarray(true, np.float64)
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    u, s, vt = np.linalg.svd(x - centre, full_matrices=False)
    best, weights = np.inf, np.zeros((x.shape[1], y.shape[1]))
    for penalty in PENALTIES:
        share = s**2 / (s**2 + penalty)
        left = 1.0 - 1.0 / len(x) - (u**2) @ share  # of each image's error, once it is left out
        error = float(np.square((y - mean - u @ (share[:, None] * (u.T @ (y - mean)))) / left[:, None]).sum())
        if error < best:
            best, weights = error, vt.T @ ((s / (s**2 + penalty))[:, None] * (u.T @ (y - mean)))
    told = np.maximum((np.asarray(pool.standardised, np.float64) - centre) @ weights + mean, 0.0)
    return replace(pool, expected=((pool.expected + told) / 2).astype(np.float32))

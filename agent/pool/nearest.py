"""The nearest references of each row, compiled: one pass without a matrix of distances."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def nearest(x: np.ndarray, references: np.ndarray, own: np.ndarray, out: np.ndarray) -> None:
    """Fill out (n, k) float32 with the distances of x (n, D) to its k nearest references, nearest first.

    `references` is (D, R), transposed so that the loop over references runs along memory; own (n,) is the reference
    that a row itself is, -1 for none. By subtraction and not by |x|^2 - 2xr + |r|^2: a duplicate is at exactly 0.
    """
    k = out.shape[1]
    squared = np.empty(references.shape[1], np.float32)
    best = np.empty(k, np.float32)
    for i in range(len(x)):
        squared[:] = 0
        for channel in range(x.shape[1]):
            value = x[i, channel]
            row = references[channel]
            for r in range(len(row)):
                difference = row[r] - value
                squared[r] += difference * difference
        if own[i] >= 0:
            squared[own[i]] = np.inf
        best[:] = np.inf
        for r in range(len(squared)):
            if squared[r] < best[k - 1]:
                place = k - 1
                while place > 0 and best[place - 1] > squared[r]:
                    best[place] = best[place - 1]
                    place -= 1
                best[place] = squared[r]
        for place in range(k):
            out[i, place] = np.sqrt(best[place])

"""Asking a match table about weighted images, compiled: a weight of w stands for w copies of an image.

Weights are whole numbers of `1 / unit`, with `unit` a power of two, so that every sum is exact.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.match.layout import TIE_FIRST, TIE_NEXT, Layout
from agent.match.query import HEAD, SHORT, summarise
from agent.match.simd import EPS

FINEST = 20  # weights are multiples of 2 ** -FINEST
HEAVIEST = 2**42  # ground truth, in units: beyond, rounding could confuse a recall with a threshold


def whole_weights(weights: np.ndarray, layout: Layout) -> tuple[np.ndarray, int]:
    """(int64 weights times `unit`, unit), with `unit` the smallest power of two that makes them whole.

    Raises ValueError on weights that are negative, not finite, finer than 2 ** -FINEST or too large to be exact.
    """
    if weights.size and not (np.isfinite(weights).all() and weights.min() >= 0):
        raise ValueError("weights must be finite and not negative")
    if weights.size and weights.max() >= HEAVIEST:
        raise ValueError(f"a weight of {weights.max():g} is too much to count exactly; scale the weights down")
    scaled = weights.astype(np.float64) * 2**FINEST
    whole = scaled.astype(np.int64)
    if (whole != scaled).any():
        raise ValueError(
            f"weights must be multiples of 2 ** -{FINEST}, so that sums are exact: {weights[whole != scaled][0]} "
            "is not; round them, for example np.round(weights * 1024) / 1024"
        )
    bits = int(np.bitwise_or.reduce(whole, axis=None)) | 1 << FINEST
    divisor = bits & -bits  # the largest power of two that divides them all
    whole //= divisor
    longest = np.diff(layout.row_start).max(initial=1)
    if longest * whole.sum(axis=1, dtype=np.float64).max(initial=0) > HEAVIEST:
        raise ValueError(f"weights sum to {weights.sum(axis=1).max():g}: too much to count exactly; scale them down")
    return whole, 2**FINEST // divisor


@njit(cache=True, nogil=True)
def tally(draws: np.ndarray, weights: np.ndarray) -> None:
    """weights[q, i] = how often i occurs in draws[q]."""
    weights[:] = 0
    for q in range(draws.shape[0]):
        for p in range(draws.shape[1]):
            weights[q, draws[q, p]] += 1


@njit(cache=True, nogil=True)
def _collect(
    first: int,
    last: int,
    unit: int,
    layout: Layout,
    own: np.ndarray,
    counts: np.ndarray,
    depth: np.ndarray,
    weight: np.ndarray,
    number: np.ndarray,
) -> int:
    """List the weighted ones among the marked rows first to last - 1, a row of a tie once a copy; how many there are.

    `depth` is the weight of all detections of the class up to and with the row.
    """
    mark_image, true_bits, tie_place = layout.mark_image, layout.true_bits, layout.tie_place
    n, k = 0, 0
    for v in range(first, last):
        n += counts[v]
        left = own[mark_image[v]]
        if not true_bits[v] & (TIE_FIRST | TIE_NEXT):
            depth[k], weight[k], number[k] = n, left, v
            k += left > 0  # without a branch, as for subsets
        elif true_bits[v] & TIE_FIRST:
            tie = np.searchsorted(layout.tie_first, v)
            start, stop = layout.tie_start[tie], layout.tie_start[tie + 1]
            before = n - left * (tie_place[start] + 1)
            while left > 0:
                copy = min(left, unit)
                for p in range(start, stop):
                    depth[k], weight[k], number[k] = before + copy * (tie_place[p] + 1), copy, v + p - start
                    k += 1
                before += copy * layout.tie_length[tie]
                left -= copy
    return k


@njit(cache=True, nogil=True)
def _room(first: int, last: int, unit: int, layout: Layout, own: np.ndarray) -> int:
    """Rows that `_collect` may write for these marked rows."""
    n = last - first + 1
    tie_first, tie_start = layout.tie_first, layout.tie_start
    for tie in range(np.searchsorted(tie_first, first), np.searchsorted(tie_first, last)):
        copies = -(-own[layout.mark_image[tie_first[tie]]] // unit)
        n += copies * (tie_start[tie + 1] - tie_start[tie])
    return n


@njit(cache=True, nogil=True)
def _crossed(reached: np.int64, positives: int) -> np.int64:
    """How many of the 101 recall thresholds `reached` of `positives` passes (see SHORT)."""
    k = 100 * reached // positives
    return k + 1 - (SHORT[k] and k * positives == 100 * reached)


@njit(cache=True, nogil=True)
def _total(
    t: int,
    n: int,
    positives: int,
    eps: float,
    depth: np.ndarray,
    weight: np.ndarray,
    number: np.ndarray,
    true_bits: np.ndarray,
    ignored_bits: np.ndarray,
    reached: np.ndarray,
    below: np.ndarray,
) -> float:
    """The sum of the 101 interpolated precisions at threshold t over n listed rows.

    Fills `reached`, the weight of the true positives so far, and `below`, `depth` less the weight that is ignored.
    """
    true, ignored, k = np.int64(0), np.int64(0), np.int64(0)
    for i in range(n):
        v = number[i]
        is_true = np.int64(true_bits[v] >> t) & 1
        true += weight[i] * is_true
        ignored += weight[i] * (np.int64(ignored_bits[v] >> t) & 1)
        reached[k], below[k] = true, depth[i] - ignored
        k += is_true
    envelope, total = 0.0, 0.0
    crossed = _crossed(true, positives)
    for j in range(k - 1, -1, -1):
        envelope = max(envelope, reached[j] / (below[j] + eps))
        earlier = _crossed(reached[j - 1], positives) if j else np.int64(0)
        total += envelope * (crossed - earlier)
        crossed = earlier
    return total


@njit(cache=True, nogil=True)
def score_weightings(
    weights: np.ndarray, images: np.ndarray, unit: int, lo: int, hi: int, layout: Layout, out: np.ndarray
) -> None:
    """Queries lo to hi - 1: in query q image images[p] has the weight weights[q, p] / unit; its answers are out[q]."""
    row_start, rows, class_start = layout.row_start, layout.rows, layout.class_start
    true_bits, ignored_bits = layout.true_bits, layout.ignored_bits
    n_classes = len(class_start) - 1
    own, counts = np.zeros(len(row_start) - 1, np.int64), np.empty(len(true_bits) + n_classes, np.int64)
    positives, ap = counts[len(true_bits) :], np.empty((HEAD, n_classes))
    listed = np.empty((5, 0), np.int64)
    for q in range(lo, hi):
        counts[:] = 0
        for p in range(len(images)):
            weight, i = weights[q, p], images[p]
            own[i] = weight
            if weight:
                for e in range(row_start[i], row_start[i + 1]):
                    counts[rows[e]] += weight
        for c in range(n_classes):
            ap[0, c] = ap[1, c] = ap[2, c] = -1.0
            if positives[c] == 0:
                continue
            room = _room(class_start[c], class_start[c + 1], unit, layout, own)
            if room > listed.shape[1]:
                listed = np.empty((5, 2 * room), np.int64)
            depth, weight, number, reached, below = listed[0], listed[1], listed[2], listed[3], listed[4]
            n = _collect(class_start[c], class_start[c + 1], unit, layout, own, counts, depth, weight, number)
            ap[0, c] = 0.0
            for t in range(10):
                total = _total(
                    t, n, positives[c], EPS * unit, depth, weight, number, true_bits, ignored_bits, reached, below
                )
                ap[0, c] += total / 1010
                if t == 0:
                    ap[1, c] = total / 101
                elif t == 5:
                    ap[2, c] = total / 101
        summarise(ap, out[q])

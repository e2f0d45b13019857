"""Asking a match table about subsets of images, compiled; all at once or one image more at a time.

In one file because numba's cache on disk watches only the file of the outermost function: after editing a function that
compiled code of another file calls (`_match_simd`, `summarise`), delete `__pycache__`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from agent.match.layout import EVERY, Layout
from agent.match.simd import NO_RANK, STRIDE, envelope_50_to_65, envelope_70_to_85, envelope_90_to_95

# pycocotools compares recall with linspace(0, 1, 101), whose value at 70 is 0.7000000000000001: 7 of 10 falls short.
# Rounding can decide only where tp / n equals k / 100 exactly, so integers plus this list of k settle every case.
SHORT = np.linspace(0.0, 1.0, 101) > np.arange(101) / 100
HEAD = 3  # a row of answers is mAP, AP50, AP75, then the AP of each class


class Work(NamedTuple):
    """A subset of the images, and working memory to answer for any class of it."""

    images: np.ndarray  # uint8 an image: 1 if chosen
    counts: np.ndarray  # uint32, how often a number of `Layout.rows` is chosen: marked rows, then ground truth a class
    rank: np.ndarray  # int32 a chosen marked row of a class
    number: np.ndarray  # int32 a chosen marked row of a class: which one it is
    ranks: np.ndarray  # int32, STRIDE a true positive of a class: see `_rank_true`
    crossed: np.ndarray  # float64 a true positive of a class: see `_cross`
    ap: np.ndarray  # (3, C) float64: AP over all thresholds, at .50 and at .75; -1 without ground truth


@njit(cache=True, nogil=True)
def make_work(layout: Layout) -> Work:
    """The subset without images, and room for the largest class."""
    class_start, rows = layout.class_start, layout.rows
    n_classes, n_rows = len(class_start) - 1, len(layout.true_bits)
    truth = np.zeros(n_classes, np.int64)
    for e in range(len(rows)):
        if rows[e] >= n_rows:
            truth[rows[e] - n_rows] += 1
    longest, most = np.int64(0), np.int64(0)
    for c in range(n_classes):
        longest = max(longest, class_start[c + 1] - class_start[c])
        most = max(most, truth[c])
    return Work(
        np.zeros(len(layout.row_start) - 1, np.uint8),
        np.zeros(n_rows + n_classes, np.uint32),
        np.empty(longest + 1, np.int32),
        np.empty(longest + 1, np.int32),
        # A threshold has at most as many true positives as there is ground truth; one write goes beyond.
        np.empty((most + 1) * STRIDE, np.int32),
        np.empty(most + 1),
        np.full((HEAD, n_classes), -1.0),
    )


@njit(cache=True, nogil=True)
def _collect(
    first: int,
    last: int,
    mark_image: np.ndarray,
    images: np.ndarray,
    counts: np.ndarray,
    n: int,
    k: int,
    rank: np.ndarray,
    number: np.ndarray,
) -> int:
    """List rank and number of the chosen ones among the marked rows first to last - 1, from place k on; the next place.

    `n` is the rank before. Every row is written and only a chosen one moves on: there is no branch to mispredict.
    """
    depth = np.int64(n)
    for v in range(first, last):
        depth += np.int64(counts[v])
        rank[k], number[k] = depth, v
        k += images[mark_image[v]]
    return k


@njit(cache=True, nogil=True)
def _rank_true(
    start: int,
    stop: int,
    rank: np.ndarray,
    number: np.ndarray,
    true_bits: np.ndarray,
    at: np.ndarray,
    ranks: np.ndarray,
) -> None:
    """Append, a threshold, the ranks of its true positives to its column of `ranks`, which goes on at `at`.

    Without branches, as above; unrolled, so that the ten positions stay in registers.
    """
    a, b, c, d, e, f, g, h, i, j = at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], at[8], at[9]
    for k in range(start, stop):
        n, m = rank[k], np.int64(true_bits[number[k]])
        ranks[a] = n
        a += (m << 4) & STRIDE
        ranks[b] = n
        b += (m << 3) & STRIDE
        ranks[c] = n
        c += (m << 2) & STRIDE
        ranks[d] = n
        d += (m << 1) & STRIDE
        ranks[e] = n
        e += m & STRIDE
        ranks[f] = n
        f += (m >> 1) & STRIDE
        ranks[g] = n
        g += (m >> 2) & STRIDE
        ranks[h] = n
        h += (m >> 3) & STRIDE
        ranks[i] = n
        i += (m >> 4) & STRIDE
        ranks[j] = n
        j += (m >> 5) & STRIDE
    at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], at[8], at[9] = a, b, c, d, e, f, g, h, i, j


@njit(cache=True, nogil=True)
def _leave_out(bits: int, at: np.ndarray, clean: np.ndarray, ignored: np.ndarray, ranks: np.ndarray) -> None:
    """Before one more detection is ignored at the thresholds in `bits`: take those so far off the ranks there.

    `ignored[t]` are the detections ignored so far, `clean[t]` is up to where the column of threshold t leaves them out.
    """
    for t in range(10):
        if (bits >> t) & 1:
            if ignored[t]:
                for p in range(clean[t], at[t], STRIDE):
                    ranks[p] -= ignored[t]
            clean[t] = at[t]
            ignored[t] += 1


@njit(cache=True, nogil=True)
def _level(first: int, last: int, at: np.ndarray, ranks: np.ndarray) -> int:
    """Fill the columns of thresholds first to last - 1 up to the longest of them; how long it is."""
    n = 0
    for t in range(first, last):
        n = max(n, at[t] >> 4)
    for t in range(first, last):
        for p in range(at[t], n << 4, STRIDE):
            ranks[p] = NO_RANK
    return n


@njit(cache=True, nogil=True)
def _cross(positives: np.int64, n: int, crossed: np.ndarray) -> None:
    """For j < n: how many of the 101 recall thresholds true positive j + 1 of `positives` is the first to reach."""
    crossed[:n] = 0.0
    if n:
        crossed[0] = 1.0  # recall 0 takes the maximum over everything
    whole, part = positives // 100, positives % 100
    needed, rest = np.int64(0), np.int64(0)
    for k in range(1, 101):
        needed += whole
        rest += part
        if rest >= 100:
            rest -= 100
            needed += 1
        j = needed + (1 if rest > 0 or SHORT[k] else 0)
        if j > n:
            break
        crossed[j - 1] += 1.0


@njit(cache=True, nogil=True)
def _move(chosen: np.ndarray, sign: int, layout: Layout, work: Work) -> None:
    """Add (sign 1) or take away (sign -1) images."""
    row_start, rows, images, counts = layout.row_start, layout.rows, work.images, work.counts
    step = np.uint32(sign)  # -1 wraps round, and so does the sum
    for i in chosen:
        images[i] = sign > 0
        for e in range(row_start[i], row_start[i + 1]):
            counts[rows[e]] += step


@njit(cache=True, nogil=True)
def _score_classes(classes: np.ndarray, layout: Layout, work: Work) -> None:
    """Fill the columns of these classes in `work.ap`."""
    # Names for every array: compiled code counts references each time it takes one out of a tuple.
    class_start, ignored_start, ignored_rows = layout.class_start, layout.ignored_start, layout.ignored_rows
    mark_image, true_bits, ignored_bits = layout.mark_image, layout.true_bits, layout.ignored_bits
    images, counts, rank, number = work.images, work.counts, work.rank, work.number
    ranks, crossed, ap = work.ranks, work.crossed, work.ap
    positives = counts[len(true_bits) :]
    at, clean, ignored, total = np.empty(10, np.int64), np.empty(10, np.int64), np.empty(10, np.int32), np.empty(10)
    for c in classes:
        if positives[c] == 0:
            ap[0, c] = ap[1, c] = ap[2, c] = -1.0
            continue
        for t in range(10):
            at[t] = t
        first, n, k, corrected = class_start[c], 0, 0, False
        for e in range(ignored_start[c], ignored_start[c + 1]):
            v = ignored_rows[e]
            if images[mark_image[v]]:
                stop = _collect(first, v + 1, mark_image, images, counts, n, k, rank, number)
                _rank_true(k, stop, rank, number, true_bits, at, ranks)
                if not corrected:
                    clean[:], ignored[:], corrected = at, 0, True
                _leave_out(ignored_bits[v], at, clean, ignored, ranks)
                first, n, k = v + 1, rank[stop - 1], stop
        stop = _collect(first, class_start[c + 1], mark_image, images, counts, n, k, rank, number)
        _rank_true(k, stop, rank, number, true_bits, at, ranks)
        if corrected:
            _leave_out(EVERY, at, clean, ignored, ranks)
        n_50 = _level(0, 4, at, ranks)
        n_70 = _level(4, 8, at, ranks)
        n_90 = _level(8, 10, at, ranks)
        _cross(np.int64(positives[c]), max(n_50, n_70, n_90), crossed)
        envelope_50_to_65(ranks, n_50, crossed, total)
        envelope_70_to_85(ranks, n_70, crossed, total)
        envelope_90_to_95(ranks, n_90, crossed, total)
        mean = 0.0
        for t in range(10):
            mean += total[t]
        ap[0, c], ap[1, c], ap[2, c] = mean / 1010, total[0] / 101, total[5] / 101


@njit(cache=True, nogil=True)
def summarise(ap: np.ndarray, out: np.ndarray) -> None:
    """Fill a row of answers: means over the classes that have ground truth, -1 where none has; then every class."""
    n = 0
    out[:HEAD] = 0.0
    for c in range(ap.shape[1]):
        out[HEAD + c] = ap[0, c]
        if ap[0, c] >= 0:
            n += 1
            for k in range(HEAD):
                out[k] += ap[k, c]
    for k in range(HEAD):
        out[k] = out[k] / n if n else -1.0


@njit(cache=True, nogil=True)
def score_subsets(
    positions: np.ndarray, starts: np.ndarray, lo: int, hi: int, layout: Layout, work: Work, out: np.ndarray
) -> None:
    """Queries lo to hi - 1: query q is the images positions[starts[q]:starts[q + 1]], its answers are out[q]."""
    classes = np.arange(len(layout.class_start) - 1)
    for q in range(lo, hi):
        work.images[:] = 0
        work.counts[:] = 0
        _move(positions[starts[q] : starts[q + 1]], 1, layout, work)
        _score_classes(classes, layout, work)
        summarise(work.ap, out[q])


@njit(cache=True, nogil=True)
def move_one(i: int, sign: int, layout: Layout, work: Work, stale: np.ndarray) -> None:
    """Add (sign 1) or take away (sign -1) image i; note in `stale` (C,) the classes whose AP may change."""
    rows, class_start = layout.rows, layout.class_start
    _move(np.array([i]), sign, layout, work)
    c = 0
    for e in range(layout.row_start[i], layout.row_start[i + 1]):
        if rows[e] >= class_start[-1]:
            stale[rows[e] - class_start[-1]] = True
            continue
        while class_start[c + 1] <= rows[e]:
            c += 1
        stale[c] = True


@njit(cache=True, nogil=True)
def score_stale(stale: np.ndarray, layout: Layout, work: Work, out: np.ndarray) -> None:
    """Redo the stale classes of a running subset, and its means."""
    _score_classes(np.flatnonzero(stale), layout, work)
    stale[:] = False
    summarise(work.ap, out)

"""Boxes against their picture: the one place where numbers that others wrote become boxes that are learned from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

TOLERANCE = 1.0  # pixels beyond the edge that are rounding, and not worth a word
THIN = 0.01  # pixels; a side below it is none

ORDERED = "had corners in the wrong order and were put right"
CLIPPED = "reached beyond the picture and were cut at its edge"
EMPTY = "had no area in the picture and were dropped"
TWICE = "were there twice and count once"


@dataclass(frozen=True, eq=False)
class Checked:
    """What is left of one picture's boxes.

    Attributes:
        xyxy: (k, 4) float32, corners in pixels inside the picture; x1 < x2 and y1 < y2.
        kept: (k,) int64, the positions of these boxes among those given.
        counts: how many boxes were ORDERED, CLIPPED, EMPTY or TWICE.
        misplaced: how many boxes lie for the most part, or wholly, beyond the picture.
        not_numbers: the positions of boxes with a coordinate that is infinite or not a number: an object is there, and
            nobody knows where, so the picture is not to be learned from.
    """

    xyxy: np.ndarray
    kept: np.ndarray
    counts: Counter[str]
    misplaced: int
    not_numbers: tuple[int, ...]


def check_boxes(xyxy: ArrayLike, size: tuple[int, int], kinds: Sequence[object] | None = None) -> Checked:
    """Puts corners in order, cuts boxes at the picture's edge, drops those without area and those that repeat another.

        >>> checked = check_boxes([[40, 20, 10, 60], [90, 70, 120, 90], [5, 5, 5, 9]], size=(100, 80))
        >>> checked.xyxy.tolist(), checked.kept.tolist()
        ([[10.0, 20.0, 40.0, 60.0], [90.0, 70.0, 100.0, 80.0]], [0, 1])
        >>> checked.counts[ORDERED], checked.counts[CLIPPED], checked.counts[EMPTY]
        (1, 1, 1)

    Args:
        xyxy: (n, 4) corners in pixels.
        size: (width, height) of the picture in pixels, as displayed.
        kinds: what each box is (its class): only boxes of one kind repeat each other. Default: all of one kind.
    """
    given = np.asarray(xyxy, np.float64).reshape(-1, 4)
    if _nothing_wrong(given, size, kinds):
        return Checked(given.astype(np.float32), np.arange(len(given)), Counter(), 0, ())
    number = np.asarray(np.isfinite(given).all(axis=1))
    boxes = np.where(number[:, None], given, 0.0)
    low, high = np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])
    swapped = np.any(boxes[:, :2] > boxes[:, 2:], axis=1)
    inside_low, inside_high = np.clip(low, 0, size), np.clip(high, 0, size)
    beyond = (np.maximum(-low, high - np.array(size)) > TOLERANCE).any(axis=1)
    clipped = np.concatenate([inside_low, inside_high], axis=1).astype(np.float32)
    sides = clipped[:, 2:] - clipped[:, :2]
    filled = (sides > THIN).all(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        left = np.prod(inside_high - inside_low, axis=1) / np.prod(high - low, axis=1).clip(min=THIN**2)
    kept, seen, twice = [], set(), 0
    for k in np.flatnonzero(number & filled):
        key = (kinds[k] if kinds is not None else None, *clipped[k].round(2).tolist())
        if key in seen:
            twice += 1
            continue
        seen.add(key)
        kept.append(int(k))
    counts = {
        ORDERED: int((swapped & number & filled).sum()),
        CLIPPED: int((beyond & number & filled).sum()),
        EMPTY: int((number & ~filled).sum()),
        TWICE: twice,
    }
    return Checked(
        xyxy=clipped[kept].reshape(-1, 4),
        kept=np.array(kept, np.int64),
        counts=Counter({word: count for word, count in counts.items() if count}),
        misplaced=int((number & beyond & (left < 0.5)).sum()),
        not_numbers=tuple(map(int, np.flatnonzero(~number))),
    )


def _nothing_wrong(given: np.ndarray, size: tuple[int, int], kinds: Sequence[object] | None) -> bool:
    """Whether nothing is to be done, as is usual: ten times as fast to see as to do."""
    width, height = size
    rows = given.tolist()
    seen = {(kinds[k] if kinds is not None else None, *(round(v, 2) for v in row)) for k, row in enumerate(rows)}
    return len(seen) == len(rows) and all(
        0 <= x1 < x2 - THIN and x2 <= width and 0 <= y1 < y2 - THIN and y2 <= height for x1, y1, x2, y2 in rows
    )

"""Rows of ids: where images stand in an array, without a Python object for each of a million."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def rows_of(ids: np.ndarray, images: np.ndarray | Sequence[int]) -> np.ndarray:
    """(n,) int64, the row of `ids` (m,) in which each of `images` (n,) stands; -1 where it does not.

    `ids` are in any order, each once. O((m + n) log m) by a sort and binary search.

    >>> rows_of(np.array([30, 10, 20]), [10, 99, 30, 10]).tolist()
    [1, -1, 0, 1]
    """
    images = np.asarray(images, np.int64)
    if len(ids) == 0:
        return np.full(len(images), -1, np.int64)
    ascending = np.argsort(ids)
    places = np.searchsorted(ids, images, sorter=ascending)
    rows = ascending[np.minimum(places, len(ids) - 1)]
    return np.where(ids[rows] == images, rows, -1).astype(np.int64)


def rows_of_all(ids: np.ndarray, images: np.ndarray | Sequence[int]) -> np.ndarray:
    """`rows_of`, where every image must be there. Raises KeyError, which names the first five that are not."""
    rows = rows_of(ids, images)
    if (rows < 0).any():
        raise KeyError(f"images {np.asarray(images)[rows < 0][:5].tolist()} are not among these {len(ids)}")
    return rows

"""From image ids to positions in a match table: a compiled hash table over the ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate

import numpy as np
from numba import njit

from agent.match.layout import Layout


class UnknownImage(KeyError):
    """A query named an image that the table does not hold."""

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would show it in quotes


def find_images(layout: Layout, queries: Sequence[Iterable[int] | None]) -> tuple[np.ndarray, np.ndarray]:
    """(positions of the images, ascending in each query; starts of the queries among them). None stands for all images.

    An id repeated within a query counts once. Raises UnknownImage on an id that the table does not hold.
    """
    ids = layout.image_ids
    images = [ids if query is None else _as_ids(query) for query in queries]
    flat = images[0] if len(images) == 1 else np.concatenate([ids[:0], *images])
    ends = np.array(list(accumulate(map(len, images))), np.int64)
    positions, starts, unknown = _look_up(ids, layout.id_index, flat, ends)
    if unknown >= 0:
        raise UnknownImage(
            f"image {flat[unknown]} is not among the {len(ids)} images of this match table: "
            "build the table from ground truth that lists it"
        )
    return positions, starts


def _as_ids(query: Iterable[int]) -> np.ndarray:
    ids = query if isinstance(query, np.ndarray) else np.array(list(query))
    if len(ids) and (ids.ndim != 1 or ids.dtype.kind not in "iu"):
        raise ValueError(f"image ids must be a flat list of integers, not {ids.dtype} of shape {ids.shape}")
    return np.ascontiguousarray(ids, np.int64)


@njit(cache=True, nogil=True)
def _hash(key: int, size: int) -> np.int64:
    return np.int64((np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)) & (size - 1)


@njit(cache=True, nogil=True)
def make_index(ids: np.ndarray) -> np.ndarray:
    """Hash table over distinct int64 ids (open addressing): a power of two of int32 positions, -1 where empty."""
    size = 4
    while size < 2 * len(ids):
        size *= 2
    table = np.full(size, -1, np.int32)
    for k in range(len(ids)):
        slot = _hash(ids[k], size)
        while table[slot] >= 0:
            slot = (slot + 1) & (size - 1)
        table[slot] = k
    return table


@njit(cache=True, nogil=True)
def _look_up(
    ids: np.ndarray, index: np.ndarray, images: np.ndarray, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """As `find_images`, with -1 or the place of an unknown id in `images` as the third value."""
    positions = np.empty(len(images) + 1, np.int64)
    starts = np.zeros(len(ends) + 1, np.int64)
    marks = np.empty(len(ids), np.uint8)
    n, p = 0, 0
    for q in range(len(ends)):
        marks[:] = 0
        while p < ends[q]:
            slot = _hash(images[p], len(index))
            while index[slot] >= 0 and ids[index[slot]] != images[p]:
                slot = (slot + 1) & (len(index) - 1)
            if index[slot] < 0:
                return positions[:0], starts, p
            marks[index[slot]] = 1
            p += 1
        for i in range(len(ids)):  # ascending, because a query that walks through memory in order is a quarter faster
            positions[n] = i
            n += marks[i]
        starts[q + 1] = n
    return positions[:n], starts, -1

"""Why an image stands where it does: its cell of the pool, what is unusual about it, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from agent.gain.cells import Cells
from agent.gain.rows import BASIS_COLUMNS
from agent.pool.phi import Phi
from agent.pool.pool import Pool
from agent.pool.reduction import CHUNK

SHOWN = 2  # descriptors named in a reason
UNUSUAL = 0.5  # standard deviations from the pool's mean from which on a descriptor is worth a word


@dataclass(frozen=True, eq=False)
class Facts:
    """What is known of each image of a pool, by row.

    Attributes:
        cells: (n,) the cell of φ that it belongs to most.
        unusual: (n, SHOWN) columns of φ that lie furthest from the pool's mean; components, which mean nothing to
            people, are left out.
        labeled, selected: (n,) row of the nearest labeled image, and of the nearest other image of the batch as a row
            of the pool; -1 where there is none.
    """

    cells: np.ndarray
    unusual: np.ndarray
    labeled: np.ndarray
    selected: np.ndarray


def facts(pool: Pool, phi: Phi, cells: Cells, batch: np.ndarray) -> Facts:
    """Look at every image of the pool once; `batch` holds the rows that were selected."""
    readable = np.array([k for k, name in enumerate(phi.columns) if not name.startswith(BASIS_COLUMNS)])
    unusual = np.empty((len(pool), min(SHOWN, len(readable))), np.int64)
    cell = np.empty(len(pool), np.int64)
    for start in range(0, len(pool), CHUNK):
        values = np.asarray(phi.values[start : start + CHUNK])
        order = np.argsort(-np.abs(values[:, readable]), axis=1, kind="stable")
        unusual[start : start + CHUNK] = readable[order[:, : unusual.shape[1]]]
        cell[start : start + CHUNK] = cells.share(values).argmax(axis=1)
    near = nearest(pool.standardised, pool.labeled_standardised)
    chosen = nearest(pool.standardised, pool.standardised[batch], own=batch)
    return Facts(cell, unusual, near, np.where(chosen >= 0, batch[chosen], -1) if len(batch) else chosen)


def nearest(x: np.ndarray, references: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """(n,) index of the reference nearest to each row of x, -1 where there is none. `own`: the references' rows in x,
    which are not their own neighbours."""
    out = np.full(len(x), -1, np.int64)
    if len(references) == 0:
        return out
    norms = np.einsum("ij,ij->i", references, references)
    for start in range(0, len(x), CHUNK):
        squared = norms - 2 * (x[start : start + CHUNK] @ references.T)
        if own is not None:
            inside = np.flatnonzero((own >= start) & (own < start + CHUNK))
            squared[own[inside] - start, inside] = np.inf
        out[start : start + CHUNK] = squared.argmin(axis=1)
    if own is not None and len(own) == 1:
        out[own] = -1  # it has no other
    return out


class Reasons(Sequence[str]):
    """A sentence for each image in the order of a ranking, made when it is asked for: a million would fill memory."""

    def __init__(self, pool: Pool, phi: Phi, known: Facts, rows: np.ndarray, heads: Sequence[str]) -> None:
        """heads: how each sentence begins, in the order of `rows`."""
        self._pool, self._phi, self._facts, self._rows, self._heads = pool, phi, known, rows, heads

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        if isinstance(place, slice):
            return tuple(self[k] for k in range(*place.indices(len(self))))
        row = int(self._rows[place])
        words = [self._heads[place], f"cell {self._facts.cells[row]}", *self.unusual(row)]
        if self._facts.labeled[row] >= 0 and self._pool.labeled_ids is not None:
            words.append(f"most like labeled task {self._pool.labeled_ids[self._facts.labeled[row]]}")
        if self._facts.selected[row] >= 0:
            words.append(f"in the batch most like task {self._pool.ids[self._facts.selected[row]]}")
        return "; ".join(words)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # compared by content

    def unusual(self, row: int) -> list[str]:
        """The image's most unusual descriptors in words, those that are unusual at all."""
        values = np.asarray(self._phi.values[row])
        return [
            f"{self._phi.columns[k].replace('_', ' ')} {values[k]:+.1f} sd"
            for k in self._facts.unusual[row]
            if abs(values[k]) >= UNUSUAL
        ]

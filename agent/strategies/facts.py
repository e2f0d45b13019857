"""Why an image stands where it does: facts for the record, and a sentence for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.gain.cells import Cells
from agent.gain.rows import BASIS_COLUMNS
from agent.pool.newness import COPY, Newness
from agent.pool.phi import Phi
from agent.pool.pool import Pool
from agent.pool.reduction import CHUNK
from agent.strategies.explain import COPIED, Sentences, contents, labeled, likeness

SHOWN = 2  # descriptors that the record names of an image


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


def facts_of(pool: Pool, phi: Phi, cells: Cells, batch: np.ndarray) -> Facts:
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
    neighbour = nearest(pool.standardised, pool.standardised[batch], own=batch)
    return Facts(cell, unusual, near, np.where(neighbour >= 0, batch[neighbour], -1) if len(batch) else neighbour)


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


def reasons(
    pool: Pool, facts: Facts, rows: np.ndarray, own: Sequence[str], newness: Newness | None = None
) -> Sentences:
    """A sentence for each image in the order of a ranking, by `rows`: what it likely holds, how far it is like what is
    labeled, whether by `newness` it is nearly the same picture as another one, and in `own` what the strategy says."""
    novelty = pool.column("novelty")
    first, third = np.quantile(novelty, [0.25, 0.75]) if len(pool) else (0.0, 0.0)
    places = np.empty(len(rows), np.int64)
    places[rows] = np.arange(len(rows))

    def sentence(place: int) -> str:
        row, near = int(rows[place]), facts.labeled[rows[place]]
        what = contents(pool, row)
        words = [what, "nothing is labeled yet", own[place].removeprefix(f"{what}; ")]
        if near >= 0:
            task = int(pool.labeled_ids[near]) if pool.labeled_ids is not None else None
            words[1] = likeness(float(novelty[row]), (first, third), task)
            if newness is not None and newness.beside_labeled[row] < COPY:
                words[1] = f"{COPIED} {labeled(task)}"
        other = facts.selected[row]
        before = other >= 0 and places[other] < place
        if before and newness is not None and newness.beside(row, other[None])[0] < COPY:
            words.insert(2, f"{COPIED} task {int(pool.ids[other])}, which comes before it")
        return "; ".join(words)

    return Sentences(len(rows), sentence)

"""The gain table as people see it: what images of each cell, and boxes of each class, are expected to bring."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.gain.model import GainModel
from agent.gain.table import GainTable
from agent.pool.phi import Phi
from agent.pool.pool import Pool
from agent.pool.reduction import chunks

DIGITS = 6


def heat(model: GainModel, pool: Pool, phi: Phi, budget: int) -> dict[str, Any] | None:
    """What a table says, for the record; None of a network, which has no cells.

    counts: (N,) images of a cell, or boxes of a class: powers of two up to the budget, and the budget.
    cells: for each how many images of the pool lie in it, the task in its middle, and (N,) ΔmAP of so many of it.
    classes: for each its name, the boxes learned from already, the boxes at which its AP is one half, and (N,) ΔmAP of
    so many boxes more.
    """
    if not isinstance(model, GainTable):
        return None
    counts = sorted({*(2**k for k in range(max(budget, 1).bit_length())), budget} - {0})
    weights, cells = model.weights.mean(axis=1), len(model.cells.centres)
    bends = np.minimum(np.array(counts, np.float64)[:, None], model.knots)
    by_cell = bends @ weights[: cells * len(model.knots)].reshape(cells, -1).T  # (N, M)
    boxes = np.repeat(np.array(counts, np.float64)[:, None], len(model.classes), axis=1)
    by_class = model.classes.worth(boxes) * weights[cells * len(model.knots) :][: len(model.classes)]
    sizes, middles = _members(model, phi)
    return {
        "counts": counts,
        "cells": [
            {"images": int(sizes[c]), "task": int(pool.ids[middles[c]]), "gains": _rounded(by_cell[:, c])}
            for c in range(cells)
        ],
        "classes": [
            {
                "name": name,
                "boxes": round(float(model.classes.labeled_boxes[k]), 1),
                "half": round(float(model.classes.half[k]), 1),
                "gains": _rounded(by_class[:, k]),
            }
            for k, name in enumerate(pool.names)
        ],
    }


def _members(model: GainTable, phi: Phi) -> tuple[np.ndarray, np.ndarray]:
    """(M,) images of the pool that belong most to each cell, and (M,) row of the one that does so most."""
    count = len(model.cells.centres)
    sizes, middles, highest = np.zeros(count, np.int64), np.zeros(count, np.int64), np.full(count, -1.0)
    for chunk in chunks(len(phi.values)):
        share = model.cells.share(np.asarray(phi.values[chunk]))
        sizes += np.bincount(share.argmax(axis=1), minlength=count)
        rows = share.argmax(axis=0)
        best = share[rows, np.arange(count)]
        better = best > highest
        middles[better], highest[better] = chunk.start + rows[better], best[better]
    return sizes, middles


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), DIGITS) for value in values]

"""Gain tables for tests, fitted where nothing is known of classes, and what one says of its cells alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.gain.cells import Cells
from agent.gain.class_curves import ClassCurves
from agent.gain.rows import Row
from agent.gain.table import GainTable


def no_classes() -> ClassCurves:
    """Where nothing is known of boxes."""
    nothing = np.zeros(0)
    return ClassCurves(np.zeros(0, np.int64), nothing, nothing, nothing, nothing, nothing)


def fitted(
    rows: Sequence[Row], phi: np.ndarray, rng: np.random.Generator, cells: int = 8, refits: int = 20
) -> GainTable:
    """A table fitted to measured rows, with cells from phi (n, F)."""
    return GainTable.on(rows, Cells.fit(phi, rng, cells), no_classes(), rng, phi.shape[1], refits)


def of_cells(table: GainTable, size: int) -> np.ndarray:
    """(M, size + 1) T in mAP, the mean over the refits, for 0 to `size` images in a cell; w apart."""
    cells = len(table.cells.centres)
    weights = table.weights.mean(axis=1)[: cells * len(table.knots)].reshape(cells, -1)
    return weights @ np.minimum(np.arange(size + 1), table.knots[:, None])

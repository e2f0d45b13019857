"""φ(x): an image as the agent reads it, a row of standardised numbers of one length for every image of a project."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.pool.pool import COLUMNS, Pool
from agent.pool.reduction import CHUNK, allocate, chunks

COMPONENTS = 8
LIMIT = 10.0
EXPECTED = "expected_"
LEFT_OUT = ("expected_boxes",)
"""Whose parts φ has one by one, as expected boxes; with a single class it would be the same column twice."""

_KEPT = [k for k, name in enumerate(COLUMNS) if name not in LEFT_OUT]


@dataclass(frozen=True, eq=False)
class Phi:
    """Descriptions of a pool's images, and the space they are in.

    Attributes:
        columns: the F names: descriptors of the pool; `expected_<class>`, the log of 1 + the expected boxes of a class;
            `component_0` to `component_7`, the first components of the reduced encoding (0 where there are fewer).
            Components depend on the encoder and on the pool; no other column's meaning does.
        values: (n, F) float32, one row per image of the pool, mean 0 and variance 1 before they are clipped to +-10. A
            column that never varies is 0.
        centre: (F,) float64, the mean of each column over the pool.
        scale: (F,) float64, 1 / its standard deviation; 0 where it never varies.
    """

    columns: tuple[str, ...]
    values: np.ndarray
    centre: np.ndarray
    scale: np.ndarray


def describe_pool(pool: Pool) -> Phi:
    """φ of every image of a pool, computed in chunks and kept where the pool keeps its arrays."""
    columns = (
        *(COLUMNS[k] for k in _KEPT),
        *(f"{EXPECTED}{name}" for name in pool.names),
        *(f"component_{k}" for k in range(COMPONENTS)),
    )
    values = allocate((len(pool), len(columns)), pool.directory)
    reduced = pool.standardised
    total = np.zeros(len(columns))
    for chunk in chunks(len(pool), CHUNK):
        values[chunk] = _features(pool.descriptors[chunk], pool.expected[chunk], reduced[chunk])
        total += values[chunk].sum(axis=0, dtype=np.float64)
    count = max(len(pool), 1)
    centre = total / count
    squares = np.zeros(len(columns))
    for chunk in chunks(len(pool), CHUNK):
        squares += np.square(values[chunk] - centre).sum(axis=0)
    spread = np.sqrt(squares / count)
    constant = spread <= 1e-6 * np.abs(centre)  # only float32's rounding varies there
    scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, spread))
    for chunk in chunks(len(pool), CHUNK):
        values[chunk] = _bring(values[chunk], centre, scale)
    return Phi(columns, values, centre, scale)


def _features(descriptors: np.ndarray, expected: np.ndarray, reduced: np.ndarray) -> np.ndarray:
    """(k, F) float32, before standardisation."""
    components = np.zeros((len(reduced), COMPONENTS), np.float32)
    components[:, : reduced.shape[1]] = reduced[:, :COMPONENTS]
    return np.hstack([descriptors[:, _KEPT], np.log1p(expected), components]).astype(np.float32)


def _bring(rows: np.ndarray, centre: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(k, F) float32, standardised and clipped."""
    return np.clip((rows - centre) * scale, -LIMIT, LIMIT).astype(np.float32)

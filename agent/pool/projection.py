"""A map of the pool: images as points of a plane, near to each other where the detector sees much the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from agent.pool.pool import Pool
from agent.pool.reduction import evenly

MOST_NEXT, MOST_LABELED, MOST_REST = 500, 700, 1300


def project(pool: Pool, batch: np.ndarray) -> dict[str, Any]:
    """The labeled images, the next batch and the rest, at most 2,500 points, evenly taken, for the record.

    The plane is that of the first two principal components of the points' encodings; a component's sign means nothing.

    Args:
        batch: (B,) rows of the pool, best first.

    Returns:
        tasks: their ids; x, y: places, scaled so that the furthest lies at 1; kinds: a letter each, "n" of the next
        batch, "l" labeled, "r" the rest; explained: the share of the variance that the two components show.
    """
    following = np.asarray(batch[:MOST_NEXT], np.int64)
    rest = np.setdiff1d(np.arange(len(pool)), batch)
    rest = rest[evenly(len(rest), MOST_REST)] if len(rest) else rest
    known = pool.labeled_ids if pool.labeled_ids is not None else np.zeros(0, np.int64)
    labeled = evenly(len(known), MOST_LABELED) if len(known) else np.zeros(0, np.int64)
    parts = [pool.labeled_standardised[labeled], pool.standardised[rest], pool.standardised[following]]
    places = np.concatenate([np.zeros((0, pool.reduction.width)), *(part for part in parts if len(part))])
    tasks = np.concatenate([known[labeled], pool.ids[rest], pool.ids[following]])
    kinds = "l" * len(labeled) + "r" * len(rest) + "n" * len(following)
    plane, explained = _plane(places) if len(tasks) else (np.zeros((0, 2)), 0.0)
    plane /= max(float(np.abs(plane).max(initial=0.0)), 1e-12)
    x, y = (np.round(plane[:, k], 3).tolist() for k in (0, 1))
    return {"tasks": tasks.tolist(), "x": x, "y": y, "kinds": kinds, "explained": round(explained, 4)}


def _plane(places: np.ndarray) -> tuple[np.ndarray, float]:
    """(n, 2) the first two principal components of (n, D), and the share of the variance that they show; all at the
    centre where nothing varies, in which case D may be 0."""
    if places.shape[1] == 0:
        return np.zeros((len(places), 2)), 0.0
    centred = places - places.mean(axis=0)
    variance, axes = np.linalg.eigh(centred.T @ centred)
    first = axes[:, ::-1][:, :2]
    first = first * np.sign(first[np.abs(first).argmax(axis=0), np.arange(first.shape[1])])
    shown = np.zeros((len(places), 2))
    shown[:, : first.shape[1]] = centred @ first
    total = float(variance.sum())
    return shown, float(variance[::-1][:2].sum()) / total if total > 0 else 0.0

"""How far boxes overlap."""

from __future__ import annotations

import numpy as np


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """(n, m) intersection over union of boxes (n, 4) and (m, 4), corners x1, y1, x2, y2 in the same units; of boxes
    without a size it is 0.

    >>> iou(np.array([[0, 0, 10, 10]]), np.array([[5, 0, 15, 10], [20, 0, 30, 10]])).round(2).tolist()
    [[0.33, 0.0]]
    """
    a, b = np.asarray(one, np.float64).reshape(-1, 4), np.asarray(other, np.float64).reshape(-1, 4)
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inner = np.prod(np.maximum(sides, 0.0), axis=2)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1) for boxes in (a, b)]
    return inner / np.maximum(areas[0][:, None] + areas[1] - inner, 1e-12)

"""Compiles what numba compiles, once, at set-up: otherwise a machine's first ranking waits for it.

    python -m agent.compiled

What is compiled is kept beside the source files, or, where these may not be written, in the user's cache.
"""

from __future__ import annotations

import numpy as np

from agent.match_table import MatchTable
from agent.pool.distances import nearest_distances
from agent.pool.newness import Newness


def compile_all() -> None:
    """Ask one small match table and one small pool everything that is ever asked of them."""
    box = {"bbox": [10.0, 10.0, 50.0, 50.0], "category_id": 1}
    truth = {
        "images": [{"id": k, "width": 100, "height": 100} for k in (1, 2)],
        "annotations": [box | {"id": k, "image_id": k, "area": 2500.0, "iscrowd": 0} for k in (1, 2)],
        "categories": [{"id": 1, "name": "a"}],
    }
    detections = [box | {"image_id": k, "score": score} for k in (1, 2) for score in (0.5, 0.5, 0.9)]
    table = MatchTable.build(truth, detections)
    table.evaluate_many([[1], [1, 2]])
    table.evaluate(weights=[1, 2])
    table.bootstrap(2, rng=0)
    table.running([1]).scores()
    points = np.eye(3, dtype=np.float32)
    nearest_distances(points, points, 1, rows=np.arange(3))
    Newness(points, np.ones(3, np.float32), 1.0).best(np.arange(3)[None], np.zeros((1, 3)), 2)


if __name__ == "__main__":
    compile_all()

"""Shares of near images, against a pool that is laid out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bench.near_copies import near
from tests.agent.pools import random_pool


def test_who_is_near_and_who_is_of_one_scene() -> None:
    """Four pairs far from each other: two of one scene each, two of different scenes; and nothing between."""
    corners = np.repeat(np.eye(4), 2, axis=0) * 10
    corners[1::2] += 0.1
    pool = replace(random_pool(8, width=4), encodings=corners.astype(np.float32))
    scenes = {int(image): scene for image, scene in zip(pool.ids, (0, 0, 1, 1, 2, 3, 4, 5), strict=True)}
    told = near(pool, scenes)
    assert told["0.15"] == {"share": 1.0, "of one scene": 0.5}
    assert near(pool, {})["0.15"] == {"share": 1.0}

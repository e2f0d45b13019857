"""The map of the pool: groups stay apart, every kind is there, and no more points than a page can draw."""

from __future__ import annotations

import numpy as np

from agent.pool.pool import Pool
from agent.pool.projection import MOST_LABELED, MOST_NEXT, MOST_REST, project


def pool_of(encodings: np.ndarray, labeled: np.ndarray) -> Pool:
    summaries = np.zeros((len(encodings), 6), np.float32)
    return Pool.from_summaries(
        np.arange(len(encodings)) + 1000,
        summaries,
        encodings.astype(np.float32),
        ["a"],
        labeled.astype(np.float32),
        np.array([-1.0]),
        labeled_ids=np.arange(len(labeled)),
        labeled_summaries=np.zeros((len(labeled), 6), np.float32),
    )


def test_groups_that_look_alike_lie_together() -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(2, 40)) * 5
    group = np.arange(60) % 2
    pool = pool_of(centres[group] + rng.normal(size=(60, 40)), centres[[0] * 10] + rng.normal(size=(10, 40)))
    shown = project(pool, np.array([3, 5, 7]))
    assert shown["tasks"][-3:] == [1003, 1005, 1007]
    assert shown["kinds"] == "l" * 10 + "r" * 57 + "n" * 3
    x = dict(zip(shown["tasks"], shown["x"], strict=True))
    sides = [{np.sign(x[1000 + k]) for k in range(60) if group[k] == side} for side in (0, 1)]
    assert [len(side) for side in sides] == [1, 1]
    assert sides[0] != sides[1]
    assert {np.sign(x[k]) for k in range(10)} == sides[0]
    assert max(map(abs, shown["x"] + shown["y"])) == 1
    assert 0.3 < shown["explained"] < 1


def test_a_large_pool_is_thinned_out_evenly() -> None:
    rng = np.random.default_rng(0)
    pool = pool_of(rng.normal(size=(5000, 4)), rng.normal(size=(900, 4)))
    kinds = project(pool, np.arange(600))["kinds"]
    assert [kinds.count(kind) for kind in "nlr"] == [MOST_NEXT, MOST_LABELED, MOST_REST]


def test_pools_without_images_or_labels() -> None:
    assert project(pool_of(np.zeros((0, 4)), np.zeros((0, 4))), np.zeros(0, np.int64))["tasks"] == []
    alike = project(pool_of(np.ones((3, 1)), np.zeros((0, 1))), np.array([0]))
    assert (alike["x"], alike["y"], alike["explained"]) == ([0.0] * 3, [0.0] * 3, 0.0)


def test_images_that_are_all_the_same_lie_at_the_centre() -> None:
    pool = pool_of(np.ones((3, 40)), np.ones((1, 40)))
    shown = project(pool, np.array([1]))
    assert shown["kinds"] == "lrrn"
    assert (shown["x"], shown["y"], shown["explained"]) == ([0.0] * 4, [0.0] * 4, 0.0)

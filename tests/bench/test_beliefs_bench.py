"""How far expected boxes are believed, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agent.pool.pool import Pool
from bench.beliefs import IMAGES, PRIOR, second_look, shrunk, slope


def pool_of(labeled: np.ndarray, unlabeled: np.ndarray, expected: np.ndarray) -> Pool:
    summaries = np.concatenate([np.zeros((len(expected), 4)), expected, expected], axis=1).astype(np.float32)
    ids, names = np.arange(1, len(expected) + 1), tuple("abc"[: expected.shape[1]])
    return Pool.from_summaries(
        ids, summaries, unlabeled.astype(np.float32), names, labeled.astype(np.float32), np.full(len(names), -1.0)
    )


def test_the_slope_of_true_boxes_over_expected_ones() -> None:
    """Over many images the data speak; of one they say nothing, and of a few half of what is said is the prior."""
    rng = np.random.default_rng(0)
    expected = rng.uniform(0, 4, (5000, 2))
    true = 0.3 * expected + rng.normal(0, 1, expected.shape) + [0.0, 7.0]  # the classes' levels do not matter
    assert slope(expected, true) == pytest.approx(0.3, abs=0.02)
    assert slope(expected, -true) == 0
    assert slope(expected, 5 * true) == 1
    assert slope(expected[:1], true[:1]) == PRIOR
    assert slope(expected[:0], true[:0]) == PRIOR
    few = expected[: int(IMAGES)]
    assert slope(few, few) == pytest.approx((1 + PRIOR) / 2)


def test_expected_boxes_are_shrunk_to_their_mean() -> None:
    expected = np.array([[0.0], [1.0], [5.0]])
    pool = pool_of(np.zeros((1, 2)), np.eye(3, 2), expected)
    held = np.array([[1.0], [3.0]] * 1000)
    half = shrunk(pool, held, held / 2)
    assert half.expected[:, 0] == pytest.approx([1.0, 1.5, 3.5], abs=0.01)
    assert shrunk(pool, held, -held).expected[:, 0] == pytest.approx([2.0, 2.0, 2.0])


def test_a_ridge_tells_boxes_from_encodings() -> None:
    """What a class depends on lies in the encodings: the ridge finds it, and half of it is believed."""
    rng = np.random.default_rng(0)
    labeled, unlabeled = rng.normal(size=(200, 4)), rng.normal(size=(50, 4))
    counts = np.maximum(3 + labeled[:, :1], 0)
    pool = pool_of(labeled, unlabeled, np.zeros((50, 1)))
    told = 2 * second_look(pool, counts).expected[:, 0]
    assert np.corrcoef(told, unlabeled[:, 0])[0, 1] > 0.95
    assert told.mean() == pytest.approx(3, abs=0.3)
    nothing = second_look(pool, rng.poisson(3.0, (200, 1)))  # that do not depend on them
    assert 2 * nothing.expected[:, 0].std() < 0.5

"""Newness against a plain loop, and what a policy makes of near-copies."""

from __future__ import annotations

import numpy as np
import pytest

from agent.pool.newness import COPY, REACH, TWIN, Newness, newness, reach_of

RNG = np.random.default_rng(0)
PLACES = RNG.normal(size=(40, 6)).astype(np.float32)
LABELED = RNG.uniform(0.2, 1.0, 40).astype(np.float32)


def one_by_one(new: Newness, batch: list[int]) -> list[float]:
    """The definition, image by image."""
    out = []
    for k, row in enumerate(batch):
        squared = [float(np.square(new.places[row] - new.places[other]).sum()) for other in batch[:k]]
        out.append(min([float(new.beside_labeled[row]), *(1 - np.exp(-d / (2 * new.reach**2)) for d in squared)]))
    return out


@pytest.fixture
def new() -> Newness:
    return Newness(PLACES, LABELED, 1.5)


def test_each_image_counts_by_the_nearest_before_it(new: Newness) -> None:
    batches = np.stack([RNG.permutation(40)[:7] for _ in range(5)])
    assert new.of_each(batches) == pytest.approx(np.array([one_by_one(new, b.tolist()) for b in batches]), abs=1e-5)
    assert new.of_each(np.array([3])) == pytest.approx([LABELED[3]])
    assert new.of_each(np.zeros(0, np.int64)).shape == (0,)


def test_a_part_counts_as_it_does_in_the_whole(new: Newness) -> None:
    rows = np.array([5, 9, 30, 2])
    assert new.take(rows).of_each(np.arange(4)) == pytest.approx(new.of_each(rows), abs=1e-6)
    assert new.beside(7, rows) == pytest.approx([new.between(np.array([7, row]))[1, 0] for row in rows], abs=1e-5)


def test_what_is_beside_a_batch_is_as_if_it_came_after_it(new: Newness) -> None:
    batch, rows = np.array([1, 8, 20]), np.array([0, 2, 39])
    after = [new.of_each(np.append(batch, row))[-1] for row in rows]
    assert new.beside_all(batch, rows) == pytest.approx(after, abs=1e-5)


def test_the_reach_is_a_quarter_of_the_median_distance() -> None:
    pairs = [np.linalg.norm(PLACES[a] - PLACES[b]) for a in range(40) for b in range(a)]
    squared = np.median(np.square(pairs))
    assert reach_of(PLACES) == pytest.approx(0.25 * np.sqrt(squared), rel=1e-4)
    assert reach_of(PLACES[:1]) == 0.0
    assert newness(np.array([0.0, 1e-9]), 0.0).tolist() == [0.0, 1.0]  # all images alike


def test_of_near_copies_the_best_is_taken_first() -> None:
    scenes = np.repeat(np.eye(4, dtype=np.float32) * 10, 5, axis=0)  # four scenes of five frames
    frames = scenes + RNG.normal(0, 0.01, scenes.shape).astype(np.float32)
    new = Newness(frames, np.ones(20, np.float32), 1.0)
    scores = np.tile(np.array([[3.0, 9.0, 8.0, 7.0, 6.0]]), 4) + np.repeat(np.arange(4), 5)
    grid = np.append(np.arange(20), -1)[None]
    scores = np.append(scores[0], -np.inf)[None]
    assert sorted(new.best(grid, scores, 4).tolist()) == [1, 6, 11, 16]  # the best frame of each scene
    assert len(set(new.best(grid, scores, 20).tolist())) == 20  # then all others
    assert new.copies_of_others() == 1.0
    assert new.copies_of_labeled() == 0.0
    assert Newness(frames, np.full(20, COPY - 0.01, np.float32), 1.0).copies_of_labeled() == 1.0


def test_nearly_the_same_picture_is_what_is_as_near_as_a_twin() -> None:
    """Of two images at 1, others far away: a quarter of the median distance is the reach."""
    for distance, copies in ((TWIN - 0.001, 0.5), (TWIN + 0.001, 0.0)):
        places = np.array([[0.0], [distance], [1.0], [-1.0]])  # the median distance of two is 1
        new = Newness(places.astype(np.float32), np.ones(4, np.float32), REACH)
        assert reach_of(new.places) == pytest.approx(REACH, rel=0.1)
        assert new.copies_of_others() == copies

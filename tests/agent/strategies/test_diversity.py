"""Core-set, k-means++ and two-stage: known answers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from agent import strategies
from agent.pool.pool import Pool
from agent.pool.seeding import seed as kmeanspp_seed
from agent.strategies import Ranking
from tests.agent.pools import detections_of, on_a_line, pool_of


def rank(name: str, pool: Pool, budget: int, seed: int = 0) -> Ranking:
    return strategies.get(name).rank(pool, budget, np.random.default_rng(seed))


def clusters(sizes: list[int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Encodings around well separated centres, and which centre each is of."""
    which = np.repeat(np.arange(len(sizes)), sizes)
    return np.eye(len(sizes))[which] * 10 + rng.normal(0, 1e-4, (len(which), len(sizes))), which


def test_coreset_on_a_line() -> None:
    ranking = rank("coreset", on_a_line([1, 2, 3, 10, 6], labeled=[0]), budget=3)
    assert ranking.order.tolist() == [4, 5, 3, 1, 2]
    np.testing.assert_allclose(ranking.scores / ranking.scores[0], [1, 0.4, 0.3, 0.1, 0.1], rtol=1e-5)
    assert ranking.reasons[1].startswith("choice 2: distance ")


def test_coreset_starts_in_the_middle_when_nothing_is_labeled() -> None:
    ranking = rank("coreset", on_a_line([0, 4, 5, 6, 20]), budget=3)  # mean 7
    assert ranking.order.tolist() == [4, 5, 1, 2, 3]
    np.testing.assert_allclose(ranking.scores / ranking.scores[0], [1, 1, 6 / 14, 2 / 14, 1 / 14], rtol=1e-5)


@pytest.mark.parametrize("trial", range(10))
def test_coreset_covers_within_twice_the_optimum(trial: int) -> None:
    rng = np.random.default_rng(trial)
    pool = pool_of([detections_of([], 1)] * 10, rng.normal(size=(10, 3)))
    x = pool.standardised
    far = np.linalg.norm(x[:, None] - x[None], axis=2)
    best = min(far[:, list(centres)].min(axis=1).max() for centres in combinations(range(10), 3))
    batch = rank("coreset", pool, 3).order[:3] - 1
    assert far[:, batch].min(axis=1).max() <= 2 * best


def test_kmeanspp_draws_by_squared_distance() -> None:
    x, nearest = np.array([[1], [2], [0]], np.float32), np.array([1, 2, 0], np.float32)
    draws = [kmeanspp_seed(x, nearest, True, 1, np.random.default_rng(k)).rows[0] for k in range(3000)]
    np.testing.assert_allclose(np.bincount(draws, minlength=3) / 3000, [0.2, 0.8, 0], atol=0.03)


def test_kmeanspp_starts_anywhere_when_nothing_is_labeled() -> None:
    pool = on_a_line([0, 0.1, 100])
    first = [rank("kmeanspp", pool, 1, seed).order[0] for seed in range(600)]
    assert min(np.bincount(first, minlength=4)[1:]) > 160  # 200 expected, standard deviation 12


def test_kmeanspp_score_is_the_spread_left() -> None:
    # squared distances to the label: 100, 9, 4; then, to the nearer of it and the pick, in thirteenths of 113
    for seed in range(20):
        ranking = rank("kmeanspp", on_a_line([10, 3, -2], labeled=[0]), 1, seed)
        if ranking.order[0] == 1:
            np.testing.assert_allclose(ranking.scores, [1, 9 / 113, 4 / 113], rtol=1e-5)
            assert ranking.order.tolist() == [1, 2, 3]
            return
    pytest.fail("the farthest image, 88 % likely, was never drawn in 20 seeds")


@pytest.mark.parametrize("labeled", [[], [0, 2]])
def test_kmeanspp_covers_separated_clusters_in_as_many_picks(labeled: list[int]) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        x, which = clusters([40, 3, 12, 1, 20, 5], rng)
        labeled_x = np.eye(6)[labeled] * 10 if labeled else np.zeros((0, 6))
        pool = pool_of([detections_of([], 1)] * len(x), x, labeled=labeled_x)
        batch = rank("kmeanspp", pool, 6 - len(labeled), seed).order[: 6 - len(labeled)]
        assert sorted(which[batch - 1].tolist()) == [c for c in range(6) if c not in labeled]


def test_kmeanspp_takes_duplicates_last() -> None:
    ranking = rank("kmeanspp", on_a_line([7, 7, 7, 7, 1, 4], labeled=[7]), 6)
    assert set(ranking.order[:2].tolist()) == {5, 6}
    np.testing.assert_array_equal(ranking.scores[2:], 0)


def test_two_stage_draws_from_the_4_budget_most_uncertain() -> None:
    # Three candidates lie where a labeled image is, so the fourth is certain to be drawn; the fifth image is farther
    # still, but one too certain to be a candidate.
    scores = [0.5, 0.45, 0.4, 0.35, 0.3]
    pool = pool_of([detections_of([[s]]) for s in scores], [[0], [0], [0], [5], [500]], labeled=[[0]])
    for seed in range(10):
        assert rank("two_stage", pool, 1, seed).order.tolist() == [4, 1, 2, 3, 5]


def test_two_stage_spreads_over_its_candidates() -> None:
    rng = np.random.default_rng(0)
    x, which = clusters([4, 4, 30], rng)
    pool = pool_of([detections_of([[0.06 if cluster == 2 else 0.5]]) for cluster in which], x)
    for seed in range(10):
        ranking = rank("two_stage", pool, 2, seed)
        assert sorted(which[ranking.order[:2] - 1]) == [0, 1]
        assert set(which[ranking.order[2:8] - 1]) == {0, 1}


def test_two_stage_weighs_entropy_by_how_weak_the_class_is() -> None:
    # the same score .4, H = .673012, in a class of AP 1 (weight 1) and of AP 0 (weight 1.2)
    pool = pool_of([detections_of([[0.4, 0.0]]), detections_of([[0.0, 0.4]])], [[0], [1]], class_ap=[1.0, 0.0])
    ranking = rank("two_stage", pool, 0)
    assert ranking.order.tolist() == [2, 1]
    np.testing.assert_allclose(ranking.scores, [1, 1 / 1.2], rtol=1e-6)
    assert ranking.reasons[0] == (
        "the detector is unsure about its boxes: class-weighted entropy 0.81 nats, place 1 of 2"
    )

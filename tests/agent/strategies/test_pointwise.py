"""Random, entropy, least confidence, margin, weakness: orders worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agent import strategies
from agent.pool.pool import Pool
from agent.strategies import Ranking
from tests.agent.pools import detections_of, pool_of, random_pool


def rank(name: str, pool: Pool, budget: int = 1, seed: int = 0) -> Ranking:
    return strategies.get(name).rank(pool, budget, np.random.default_rng(seed))


def two_class_pool(*class_scores: list[list[float]], class_ap: tuple[float, float] = (0.8, 0.12)) -> Pool:
    detections = [detections_of(boxes, 2) for boxes in class_scores]
    return pool_of(detections, np.eye(len(detections)), class_ap=class_ap)


def test_random_is_uniform_over_orders() -> None:
    pool = random_pool(3)
    orders = [tuple(rank("random", pool, seed=seed).order) for seed in range(600)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 6
    assert min(counts) > 70  # 100 expected, standard deviation 9


def test_entropy_of_two_boxes_by_hand() -> None:
    # H(.5) + H(.1) = 1.018230 and H(.2) + H(.9) = .825485, mean .921858; H(.5) + H(.05) = .891662; no box: 0
    pool = two_class_pool([], [[0.5, 0.05]], [[0.5, 0.1], [0.2, 0.9]])
    ranking = rank("entropy", pool)
    assert ranking.order.tolist() == [3, 2, 1]
    np.testing.assert_allclose(ranking.scores, [0.921858, 0.891662, 0], atol=1e-6)
    assert ranking.reasons[0] == "the detector is unsure about its boxes: mean entropy 0.92 nats, largest 1.02"
    assert ranking.reasons[2].startswith("no object found; distance ")


def test_least_confidence_looks_at_the_surest_box() -> None:
    pool = two_class_pool([[0.9, 0.1], [0.06, 0.0]], [[0.3, 0.1]], [], [[0.5, 0.6]])
    ranking = rank("least_confidence", pool)
    assert ranking.order.tolist() == [2, 4, 1, 3]
    np.testing.assert_allclose(ranking.scores, [0.7, 0.4, 0.1, 0], atol=1e-6)
    assert ranking.reasons[0] == "the detector is not sure of any box: the best one scores 0.30"


def test_margin_averages_over_boxes() -> None:
    pool = two_class_pool([[0.9, 0.1], [0.5, 0.5]], [[0.8, 0.7]], [])
    ranking = rank("margin", pool)
    assert ranking.order.tolist() == [2, 1, 3]
    np.testing.assert_allclose(ranking.scores, [0.9, 0.6, 0], atol=1e-6)
    assert ranking.reasons[1] == (
        "the detector hesitates between classes: the scores of a box's best two are 0.40 apart on average"
    )


def test_weakness_prefers_the_weak_class() -> None:
    pool = two_class_pool([[0.9, 0.0]] * 3, [[0.0, 0.9]] * 2)
    ranking = rank("weakness", pool)
    assert ranking.order.tolist() == [2, 1]
    np.testing.assert_allclose(ranking.scores, [1.8 * 0.88, 2.7 * 0.2], rtol=1e-6)
    assert tuple(ranking.reasons) == (
        "likely holds two 'c1' objects, a class with AP 0.12; weighted by weakness, its boxes count 1.58",
        "likely holds three 'c0' objects, a class with AP 0.80; weighted by weakness, its boxes count 0.54",
    )


def test_weakness_looks_for_a_class_that_was_never_measured() -> None:
    ranking = rank("weakness", two_class_pool([[0.9, 0.0]], [[0.0, 0.9]], class_ap=(0.1, -1)))
    assert ranking.order.tolist() == [2, 1]
    assert ranking.reasons[0] == (
        "likely holds one 'c1' object, a class not measured yet; weighted by weakness, its boxes count 0.90"
    )


@pytest.mark.parametrize("name", ["entropy", "least_confidence", "margin", "weakness"])
def test_equal_scores_go_by_novelty_then_id(name: str) -> None:
    pool = pool_of([detections_of([], 1)] * 4, [[1], [5], [3], [1]], labeled=[[0]], ids=[9, 8, 7, 6])
    assert rank(name, pool).order.tolist() == [8, 7, 6, 9]

"""What every strategy must do, whichever it is: a new one is tested by being registered."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from agent import strategies
from agent.policy.reinforce import ReinforceConfig
from agent.pool.pool import Pool
from agent.strategies import Pointwise, Ranking, mgral
from tests.agent.pools import detections_of, on_a_line, pool_of, random_pool

ARRAYS = ("ids", "encodings", "descriptors", "expected", "labeled_encodings", "class_ap")
POOLS: dict[str, Callable[[], Pool]] = {
    "ordinary": lambda: random_pool(25),
    "one class": lambda: random_pool(12, classes=1),
    "nothing labeled": lambda: random_pool(12, labeled=0),
    "no boxes": lambda: random_pool(12, boxes=0),
    "no boxes, nothing labeled": lambda: random_pool(12, boxes=0, labeled=0),
    "boxes under the floor": lambda: pool_of([detections_of([[0.04], [0.01]])] * 6, np.eye(6)),
    "duplicates": lambda: on_a_line([3, 3, 3, 5, 5, 9], labeled=[3]),
    "all the same": lambda: on_a_line([3] * 6),
    "all as labeled": lambda: on_a_line([3] * 6, labeled=[3]),
    "one image": lambda: random_pool(1),
    "one image, nothing labeled": lambda: random_pool(1, labeled=0),
    "empty": lambda: random_pool(0),
    "empty, nothing labeled": lambda: random_pool(0, labeled=0),
}


@pytest.fixture(autouse=True)
def quick_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent learns for a moment only; how well it learns is tested elsewhere."""
    learning = ReinforceConfig(updates=2, chunks=2, episodes=4, imitation=1, check=1)
    monkeypatch.setattr(mgral, "MgralConfig", partial(mgral.MgralConfig, learning))


every_strategy = pytest.mark.parametrize("name", strategies.names())
every_pool = pytest.mark.parametrize("kind", POOLS)


def rank(name: str, pool: Pool, budget: int, seed: int = 0) -> Ranking:
    return strategies.get(name).rank(pool, budget, np.random.default_rng(seed))


@every_strategy
@every_pool
def test_ranking_is_whole(name: str, kind: str) -> None:
    pool = POOLS[kind]()
    n = len(pool)
    for budget in (0, 1, 3, n, n + 5):
        ranking = rank(name, pool, budget)
        assert ranking.strategy == name
        assert ranking.budget == min(budget, n)
        assert sorted(ranking.order.tolist()) == sorted(pool.ids.tolist())
        assert ranking.order.dtype == np.int64
        assert ranking.scores.shape == (n,)
        assert np.isfinite(ranking.scores).all()
        assert (np.diff(ranking.scores) <= 0).all()
        assert len(ranking.reasons) == n
        for reason in ranking.reasons:
            assert re.search(r"\d", reason), "a reason names numbers"
            assert "\n" not in reason
            assert "nan" not in reason


@every_strategy
@every_pool
def test_same_seed_same_ranking(name: str, kind: str) -> None:
    first, second = rank(name, POOLS[kind](), 4, seed=3), rank(name, POOLS[kind](), 4, seed=3)
    np.testing.assert_array_equal(first.order, second.order)
    np.testing.assert_array_equal(first.scores, second.scores)
    assert first.reasons == second.reasons


@every_strategy
def test_the_pool_is_left_as_it_was(name: str) -> None:
    pool = random_pool(20)
    before = {array: getattr(pool, array).copy() for array in ARRAYS}
    rank(name, pool, 5)
    for array in ARRAYS:
        np.testing.assert_array_equal(getattr(pool, array), before[array], err_msg=array)


@every_strategy
def test_a_pool_that_cannot_be_written_is_enough(name: str) -> None:
    pool = random_pool(20)
    for array in ARRAYS:
        getattr(pool, array).flags.writeable = False
    assert len(rank(name, pool, 5).order) == 20


@every_strategy
def test_a_negative_budget_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="budget -1"):
        rank(name, random_pool(3), -1)


@pytest.mark.parametrize("name", [n for n in strategies.names() if isinstance(strategies.get(n), Pointwise)])
@every_pool
def test_how_the_pool_is_sorted_does_not_matter_to_pointwise_strategies(name: str, kind: str) -> None:
    pool = POOLS[kind]()
    mixed = pool.take(np.random.default_rng(1).permutation(len(pool)))
    ours, theirs = rank(name, pool, 4), rank(name, mixed, 4)
    np.testing.assert_array_equal(ours.order, theirs.order)
    assert ours.reasons == theirs.reasons

"""Whose order mgral publishes, and what its record says of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from agent import strategies
from agent.gain.rows import Row, Rows
from agent.policy.reinforce import ReinforceConfig
from agent.pool.phi import describe_pool
from agent.pool.pool import Pool
from agent.strategies import Ranking
from agent.strategies.explain import contents
from agent.strategies.mgral import BASELINES, CELLS, UNTRUSTED, Mgral, MgralConfig
from agent.strategies.past import Past
from tests.agent.pools import random_pool

LEARNING = ReinforceConfig(updates=30, chunks=4, episodes=16, imitation=5)
BUDGET = 8


@pytest.fixture(scope="module")
def pool() -> Pool:
    return random_pool(80)


def measured(pool: Pool, sign: float, count: int = 40) -> Rows:
    """Gains that follow (1) or contradict (-1) the expected boxes of the class that has fewest."""
    rng = np.random.default_rng(0)
    phi = describe_pool(pool)
    column = phi.columns.index("expected_c3")
    rows = []
    for k in range(count):
        batch = rng.choice(80, BUDGET, replace=False)
        gain = 0.02 + sign * 0.002 * float(phi.values[batch, column].sum()) + 0.0005 * rng.normal()
        named = dict(zip(pool.names, pool.expected[batch].sum(axis=0).tolist(), strict=True))
        rows.append(
            Row(pool.ids[batch], phi.values[batch], gain, 0.001, "hindsight", f"g{k % 2}", 1, phi.columns, named)
        )
    return Rows(rows)


def ranked(pool: Pool, rows: Rows, *, never_worse: bool = True, seed: int = 0) -> Ranking:
    config = MgralConfig(LEARNING, never_worse)
    return Mgral(rows, 2, config).rank(pool, BUDGET, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def followed(pool: Pool) -> Ranking:
    """By gains that follow the expected boxes."""
    return ranked(pool, measured(pool, 1.0))


def test_the_batch_is_the_one_that_measured_gains_call_for(pool: Pool, followed: Ranking) -> None:
    ranking, details = followed, followed.details
    assert details["chosen"] == "mgral"
    assert details["rho"] > 0.6
    batch = pool.rows(ranking.order[:BUDGET])
    value = describe_pool(pool).values[:, describe_pool(pool).columns.index("expected_c3")]
    assert value[batch].mean() > 0.7 * np.sort(value)[-BUDGET:].mean()
    best = max(details["gains"][name][0] for name in BASELINES)
    assert details["gains"]["mgral"][0] > best


def test_every_baseline_is_judged_by_the_same_table_and_the_reason_is_told(followed: Ranking) -> None:
    details = followed.details
    assert set(details["gains"]) == {*BASELINES, "mgral"}
    assert all(std > 0 for _, std in details["gains"].values())
    assert details["rows"] == {"hindsight": 40}
    assert "rho" in details["why"]
    assert len(details["learning_curve"]) >= 2
    json.dumps(details)  # fit to be kept with the version


def test_gains_that_nothing_predicts_bring_a_baseline(pool: Pool) -> None:
    """The gains are noise, and there are enough of them to say so."""
    rng = np.random.default_rng(8)
    rows = Rows(
        Row(r.ids, r.phi, 0.02 + 0.01 * rng.normal(), 0.001, r.source, "g", 1, r.columns, r.boxes, r.known)
        for r in measured(pool, 1.0, 160)
    )
    ranking = ranked(pool, rows)
    assert ranking.details["chosen"] == UNTRUSTED
    assert "not to be believed" in ranking.details["why"]
    assert ranked(pool, Rows(list(rows)[:80]), never_worse=False).details["chosen"] == "mgral"


def test_with_nothing_measured_the_learning_curves_of_the_classes_order(pool: Pool) -> None:
    details = ranked(pool, Rows()).details
    assert details["rho"] is None
    assert details["chosen"] in {"mgral", *BASELINES}
    assert "rho unknown over 0 measured batches" in details["why"]


@pytest.mark.parametrize("chooser", ["policy", "pointwise", "greedy"])
def test_by_its_own_table_the_agent_is_worth_what_any_baseline_is(pool: Pool, chooser: str) -> None:
    """It was not: at little data a few refits of a low level, scaled up, told it what to choose."""
    config = MgralConfig(
        ReinforceConfig(updates=60, recurrent=chooser != "pointwise"),
        False,
        "greedy" if chooser == "greedy" else "policy",
    )
    for seed in range(3):
        details = Mgral((), 2, config).rank(pool, BUDGET, np.random.default_rng(seed)).details
        assert details["chosen"] == "mgral"
        best = max(details["gains"][name][0] for name in BASELINES)
        assert details["gains"]["mgral"][0] > 0.97 * best
        assert ("learning_curve" in details) == (chooser != "greedy")


COPY = "nearly the same picture as a labeled task"


def test_the_record_explains_every_task(pool: Pool, followed: Ranking) -> None:
    ranking = followed
    tasks = ranking.details["tasks"]
    assert [task["task"] for task in tasks] == ranking.order.tolist()
    batch = set(ranking.order[:BUDGET].tolist())
    for task in tasks:
        assert task["nearest_selected"] in batch
        assert task["nearest_selected"] != task["task"]
        assert len(task["descriptors"]) == 2
        assert not any(name.startswith("component_") for name in task["descriptors"])
    assert {task["cell"] for task in tasks} <= set(range(CELLS))
    assert len({task["cell"] for task in tasks}) > 1
    choices = ["the first choice, which adds ", *["adds "] * (BUDGET - 1)]
    for place, (reason, row) in enumerate(zip(ranking.reasons, pool.rows(ranking.order), strict=True)):
        what, like, *copied, own = reason.split("; ")
        assert what == contents(pool, int(row))
        assert re.fullmatch("unlike anything labeled|(much|somewhat) like a labeled task|" + COPY, like)
        assert all(re.fullmatch(r"nearly the same picture as task \d+, which comes before it", one) for one in copied)
        assert own.startswith(choices[place] if place < BUDGET else f"place {place + 1} by the agent's score")
        assert not re.search(r"\bcell\b|\bsd\b|_", reason)
    assert len({reason.split("; ")[1] for reason in ranking.reasons}) in (3, 4)


@pytest.mark.parametrize("name", BASELINES)
def test_the_reasons_of_a_baseline_that_orders_are_kept(pool: Pool, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.strategies.mgral.UNTRUSTED", name)
    ranking = Mgral((), 2).rank(pool, 0, np.random.default_rng(0))  # nothing is to be chosen
    alone = strategies.get(name).rank(pool, 0, np.random.default_rng(0))
    for reason, own, row in zip(ranking.reasons, alone.reasons, pool.rows(ranking.order), strict=True):
        what = contents(pool, int(row))
        assert reason.startswith(f"{what}; ")
        assert reason.endswith(own.removeprefix(f"{what}; "))
        assert reason.count(what) == 1


def test_the_same_seed_gives_the_same_ranking(pool: Pool, followed: Ranking) -> None:
    again = ranked(pool, measured(pool, 1.0))
    np.testing.assert_array_equal(again.order, followed.order)
    assert again.details == followed.details


@pytest.mark.parametrize("budget", [0, 80, 200])
def test_where_nothing_is_to_be_chosen_the_agent_does_not_learn(pool: Pool, budget: int) -> None:
    ranking = Mgral(measured(pool, 1.0), 2).rank(pool, budget, np.random.default_rng(0))
    assert ranking.details["chosen"] == UNTRUSTED
    assert "nothing to choose" in ranking.details["why"]
    assert sorted(ranking.order.tolist()) == sorted(pool.ids.tolist())


def test_what_earlier_batches_brought_takes_the_order_from_the_agent(pool: Pool) -> None:
    def details(*past: Past) -> Mapping[str, Any]:
        return Mgral((), 5, MgralConfig(past=past)).rank(pool, BUDGET, np.random.default_rng(0)).details

    agents, others = [Past("mgral", -0.05, 0.01, 0.01)] * 3, [Past("two_stage", -0.05, 0.01, 0.01)] * 3
    found = details(*agents)
    assert found["chosen"] == UNTRUSTED == "two_stage"
    assert found["why"] == (
        "the last 3 batches of mgral brought -0.0500 mAP each, and random ones had been estimated at +0.0100: "
        "two_stage orders"
    )
    assert set(found["gains"]) == set(BASELINES)
    assert details(*others, *agents)["chosen"] == "random"

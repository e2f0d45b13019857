"""The choice by gain a second, on images whose worth and seconds are worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agent.costs import LabelingCosts
from agent.gain.class_curves import ClassCurves
from agent.gain.model import GainModel
from agent.gain.per_second import PerSecond
from agent.policy.policy import greedy_rows, lower_bound, summed
from agent.pool.newness import Newness
from agent.strategies.mgral import Mgral, MgralConfig
from tests.agent.pools import random_pool

WORTH = np.array([4.0, 3.0, 1.0, 0.5])
BOXES = np.array([10.0, 3.0, 1.0, 0.0])  # at 6 s an image and 7 s a box: 76, 27, 13 and 6 s
A, B, C, D = range(4)
PHI = np.column_stack([np.log1p(BOXES), WORTH]).astype(np.float32)


class Sum(GainModel):
    """A batch is worth the sum of its images, or for `power` < 1 less and less; all refits agree."""

    def __init__(self, power: float = 1.0) -> None:
        self.power = power

    def codes(self, phi: np.ndarray) -> np.ndarray:
        return phi[:, 1:]

    def draws(self, sums: np.ndarray) -> np.ndarray:
        return np.repeat(sums**self.power, 2, axis=1)


def per_second(model: GainModel) -> PerSecond:
    """Whose images take 30.5 s on average."""
    one, nothing = np.ones(1), np.zeros(1)
    boxes = ClassCurves(np.array([0]), nothing, one, nothing, np.array([BOXES.mean()]), one)
    return PerSecond(model, boxes, LabelingCosts(6, 7), 30.5)


def gain(model: GainModel, *rows: int) -> float:
    return float(lower_bound(model, summed(model.codes(PHI).astype(np.float64), np.array(rows, int), None)[None])[0])


def test_batches_are_compared_where_they_have_cost_the_same() -> None:
    model = per_second(Sum())
    np.testing.assert_allclose(model.seconds(model.codes(PHI)), [76, 27, 13, 6], rtol=1e-5)
    assert gain(model, A, B) == pytest.approx(7 * 61 / 103, rel=1e-5)  # of the 103 s that they take, 61 are paid for
    assert gain(model, B, C) == pytest.approx(4 * 61 / 40, rel=1e-5)
    assert gain(model, A) == pytest.approx(4 * 30.5 / 76, rel=1e-5)
    assert gain(model) == 0
    assert gain(model.plain, A, B) == pytest.approx(7)


def test_a_gain_that_levels_off_is_read_at_the_same_seconds() -> None:
    """The root of a sum: a small batch has the higher quotient, and is no better for it."""
    model = per_second(Sum(0.5))
    assert gain(model, B, B, B, B) == pytest.approx((12 * 122 / 108) ** 0.5, rel=1e-5)
    assert gain(model, B, B, B, B) == pytest.approx(2 * gain(model, B), rel=1e-5)  # twice the root, four times as long


@pytest.mark.parametrize(
    ("model", "order"),
    [
        (Sum(), [A, B, C, D]),  # 4, 3, 1, .5
        (per_second(Sum()), [B, D, C, A]),  # .111, .083, .077 and .053 a second
    ],
)
def test_the_greedy_order_is_by_gain_a_second(model: GainModel, order: list[int]) -> None:
    for budget in (1, 2, 4):
        ranked = greedy_rows(PHI, model, budget)
        assert ranked.order.tolist() == order
        assert (np.diff(ranked.scores) <= 0).all()


def test_a_near_copy_makes_a_batch_no_better() -> None:
    """Of B and its like, one counts: the batch is worth what one B gains in 30.5 s, not what two gain in 61."""
    model = per_second(Sum())
    places = np.array([[0.0], [5.0], [50.0], [5.0]], np.float32)
    newness = Newness(places, np.ones(4, np.float32), reach=1.0)
    codes = model.codes(PHI[[A, B, C, B]]).astype(np.float64)
    sums = [summed(codes, np.array(batch), newness)[None] for batch in ([1], [1, 3], [1, 2])]
    alone, twice, other = (float(lower_bound(model, one)[0]) for one in sums)
    assert twice == pytest.approx(alone)
    assert other > twice


def test_the_agent_and_every_baseline_are_judged_at_the_same_seconds() -> None:
    pool, budget = random_pool(40), 8
    boxes = pool.expected.sum(axis=1)
    seconds = LabelingCosts(2, 30).seconds(boxes)
    ranked = {
        costs: Mgral((), 2, MgralConfig(never_worse=False, chooser="greedy", costs=costs)).rank(
            pool, budget, np.random.default_rng(0)
        )
        for costs in (None, LabelingCosts(2, 30), LabelingCosts(1000, 0.01))
    }
    images, minutes, even = (one.details for one in ranked.values())
    taken = [seconds[pool.rows(one.order[:budget])].mean() for one in ranked.values()]
    assert taken[1] < 0.8 * taken[0]
    assert minutes["gains"]["mgral"][0] > max(g for name, (g, _) in minutes["gains"].items() if name != "mgral")
    fullest = "weakness"  # boxes of all images cost more than they do on average
    assert minutes["gains"][fullest][0] < 0.9 * images["gains"][fullest][0]
    assert even["gains"]["mgral"] == pytest.approx(images["gains"]["mgral"], rel=0.01)  # where all cost the same
    assert f"for the {budget * seconds.mean() / 60:.3g} minutes of 8 average images" in minutes["why"]
    assert "minutes" not in images["why"]
    first = ranked[LabelingCosts(2, 30)]
    for reason, each in zip(first.reasons, seconds[pool.rows(first.order[:budget])], strict=False):
        assert reason.endswith(f", in about {each:.0f} s")
    assert ranked[None].reasons[0].endswith(" mAP")

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from agent import strategies
from agent.strategies import Ranking
from agent.strategies.base import Strategy, register


def test_the_baselines_are_registered_under_their_names() -> None:
    registered = strategies.names()
    assert {
        "random",
        "least_confidence",
        "margin",
        "entropy",
        "coreset",
        "kmeanspp",
        "weakness",
        "two_stage",
    } <= set(registered)
    assert [strategies.get(name).name for name in registered] == list(registered)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'entropi' is not known") as error:
        strategies.get("entropi")
    assert all(name in str(error.value) for name in strategies.names())


def test_a_name_is_taken_once() -> None:
    class Impostor(Strategy):
        name = "entropy"

    with pytest.raises(ValueError, match="'entropy' is registered twice"):
        register(Impostor)


@pytest.mark.parametrize(
    ("order", "scores", "reasons", "budget", "message"),
    [
        ([1, 2], [0.5, 0.6], "ab", 1, "never rise"),
        ([1, 2], [0.5, np.nan], "ab", 1, "finite"),
        ([1, 1], [0.5, 0.4], "ab", 1, "occurs twice"),
        ([1, 2], [0.5, 0.4], "a", 1, "1 reasons"),
        ([1, 2], [0.5], "ab", 1, r"scores \(1,\)"),
        ([1, 2], [0.5, 0.4], "ab", 3, "budget 3 of 2"),
    ],
)
def test_a_ranking_that_breaks_its_promise_is_refused(
    order: Sequence[int], scores: Sequence[float], reasons: str, budget: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Ranking("entropy", budget, np.array(order), np.array(scores), tuple(reasons))

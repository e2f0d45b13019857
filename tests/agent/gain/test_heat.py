"""The gain table as people see it: cells and classes with what more of each is worth."""

from __future__ import annotations

import numpy as np
import pytest

from agent.gain.fit import fit_gains
from agent.gain.heat import heat
from agent.gain.rows import Rows
from agent.pool.phi import describe_pool
from tests.agent.pools import random_pool


def test_what_the_table_says_is_what_it_estimates() -> None:
    pool = random_pool(60, seed=1)
    phi = describe_pool(pool)
    model = fit_gains(pool, phi, Rows(), 1, np.random.default_rng(0)).model
    shown = heat(model, pool, phi, 10)
    assert shown is not None
    assert shown["counts"] == [1, 2, 4, 8, 10]
    assert sum(cell["images"] for cell in shown["cells"]) == 60
    assert {cell["task"] for cell in shown["cells"]} <= set(pool.ids.tolist())
    assert [one["name"] for one in shown["classes"]] == list(pool.names)
    for one in [*shown["cells"], *shown["classes"]]:
        assert one["gains"] == sorted(one["gains"])  # the more the better,
        assert one["gains"][1] <= 2 * one["gains"][0] + 1e-5  # but ever less
    cells = len(shown["cells"])
    sums = np.zeros((1, model.codes(phi.values[:1]).shape[1]))
    sums[0, 0], sums[0, cells] = 2.0, 4.0  # two images of the first cell, four boxes of the first class
    expected = shown["cells"][0]["gains"][1] + shown["classes"][0]["gains"][2]
    assert model.read(sums)[0][0] == pytest.approx(expected, abs=1e-5)


def test_a_model_without_cells_has_none_to_show() -> None:
    class Other:
        pass

    assert heat(Other(), random_pool(5), describe_pool(random_pool(5)), 2) is None  # type: ignore[arg-type]

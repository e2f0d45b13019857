"""What is told of measured batches of many worlds, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agent.gain import class_curves, table
from agent.pool import newness
from agent.pool.pool import Pool
from bench import worlds
from bench.worlds import OURS, Measured, Prior, estimates, left_out

OTHER: Prior = (0.4, 0.0, None)


def pool_of_copies() -> Pool:
    """Six images without any labeled beside them: the first three show one scene of two boxes, the others differ and
    hold one box each."""
    rng = np.random.default_rng(0)
    encodings = rng.normal(size=(6, 8)).astype(np.float32) * 5
    encodings[1:3] = encodings[0] + rng.normal(size=(2, 8)) * 0.01
    expected = np.array([[2], [2], [2], [1], [1], [1]], np.float32)
    summaries = np.concatenate([np.zeros((6, 4), np.float32), expected, expected], axis=1)
    return Pool.from_summaries(
        np.arange(1, 7), summaries, encodings, ("cell",), np.zeros((0, 8), np.float32), np.array([0.2])
    )


def test_near_copies_count_once_where_there_is_a_reach() -> None:
    """Three frames of one scene hold most boxes, so they are worth most to whoever counts every frame."""
    measured = Measured(pool_of_copies(), np.array([[0, 1, 2], [3, 4, 5]]), np.zeros(2))
    of_copies, of_others = estimates(measured, (0.8, 0.0, None))
    assert of_copies > of_others
    of_copies, of_others = estimates(measured, (0.8, 0.0, 0.25))
    assert of_copies < of_others


def test_the_products_own_numbers_are_back_afterwards() -> None:
    measured = Measured(pool_of_copies(), np.array([[0, 3, 4], [3, 4, 5]]), np.zeros(2))
    ours = estimates(measured, OURS)
    assert not np.allclose(ours, estimates(measured, OTHER))
    assert OURS == (class_curves.GAMMA, table.SHARE_OF_SPREAD, newness.REACH)
    assert estimates(measured, OURS) == pytest.approx(ours)


def test_the_products_own_numbers_are_among_those_tried() -> None:
    gamma, share, reach = OURS
    assert gamma in worlds.GAMMAS
    assert share in worlds.SHARES
    assert reach in worlds.REACHES


def test_what_is_best_on_the_other_sources_is_tried_on_each() -> None:
    """On cards and scenes the other numbers are better by .2 and .1, on bccd worse by .4. So on bccd they are tried; on
    cards and scenes ours are, which are better on the rest together."""
    found = [
        ("cards", {OURS: 0.3, OTHER: 0.5}),
        ("scenes", {OURS: 0.3, OTHER: 0.4}),
        ("bccd", {OURS: 0.6, OTHER: 0.2}),
    ]
    figures = left_out(found)
    assert figures["bccd"] == {"best_elsewhere": OTHER, "rho": 0.2, "rho_ours": 0.6}
    assert figures["cards"] == {"best_elsewhere": OURS, "rho": 0.3, "rho_ours": 0.3}
    assert figures["scenes"] == {"best_elsewhere": OURS, "rho": 0.3, "rho_ours": 0.3}
    assert figures["difference"] == pytest.approx(-0.4 / 3, abs=1e-3)
    assert figures["error"] == pytest.approx(np.std([0, 0, -0.4], ddof=1) / np.sqrt(3), abs=1e-3)
    assert left_out(found[:1]) == {}


def test_worlds_differ_and_are_the_same_next_time() -> None:
    some = worlds.worlds(8)
    assert some[:4] == worlds.worlds(4)
    assert len({world.name for world in some}) == 8
    assert {world.source for world in some} == set(worlds.SOURCES)
    assert len({(world.config.frames, world.config.tail) for world in some}) == 8

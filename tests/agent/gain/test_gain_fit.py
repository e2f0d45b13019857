from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from agent.gain.cells import Cells
from agent.gain.fit import choose, folds, held_out_rho, interval, rho_of_net, rho_of_table
from agent.gain.net import GainNet
from agent.gain.rows import Rows
from agent.gain.table import GainTable
from tests.agent.gain.tables import no_classes
from tests.agent.gain.test_gain_worlds import World, concave, world


def noise(count: int) -> Iterator[tuple[World, Rows, np.random.Generator]]:
    """Worlds, each with rows whose gains have nothing to do with their batches."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        w = world(rng, images=120)
        yield w, Rows(w.row(w.batch(rng, 20, 20), 0.01 + 0.01 * rng.normal(), 0.005) for _ in range(12)), rng


def test_noise_has_no_correlation_by_the_table() -> None:
    rhos = [rho_of_table(rows, Cells.fit(w.phi, rng, 4), no_classes(), rng, rounds=2) for w, rows, rng in noise(40)]
    assert abs(np.mean(rhos)) < 0.08


def test_noise_has_no_correlation_by_the_net() -> None:
    rhos = [rho_of_net(rows, rng, rounds=1) for _, rows, rng in noise(8)]
    assert abs(np.mean(rhos)) < 2.5 * np.std(rhos) / np.sqrt(len(rhos)) + 0.02


def test_a_level_learned_from_the_rest_gives_nothing() -> None:
    """The trap itself: predicting each row by the mean of those not held out."""
    rhos, traps = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        w = world(rng, images=60)
        gains = rng.normal(size=10)
        rows = [w.row(w.batch(rng, 10, 10), g) for g in gains]
        signal = rng.normal(size=10)  # what a model would say of the batches
        out = folds(rows, 3, rng)
        level = (~out @ gains / (~out).sum(axis=1))[:, None]
        rhos.append(held_out_rho(rows, out, signal + level))
        traps.append(np.corrcoef(gains, (gains.sum() - gains) / 9)[0, 1])
    assert np.mean(traps) < -0.99
    assert abs(np.mean(rhos)) < 0.08


def test_a_planted_signal_is_seen_and_both_are_compared() -> None:
    rng = np.random.default_rng(0)
    w = world(rng)
    fitted = choose(w.measure(24, concave(w, rng), 0.0005, rng), w.described(), no_classes(), rng)
    assert fitted.rho_table > 0.7
    assert fitted.rho == (fitted.rho_table if fitted.name == "table" else fitted.rho_net)
    assert fitted.name == "table"  # 24 rows are too few for the net
    assert isinstance(fitted.model, GainTable if fitted.name == "table" else GainNet)
    assert fitted.rho_interval[0] < fitted.rho < fitted.rho_interval[1]
    assert fitted.sources == {"hindsight": 24}


def test_pseudo_labels_are_not_judged_by() -> None:
    """However well they can be predicted: their gains are not those of true labels."""
    rng = np.random.default_rng(3)
    w = world(rng)
    rows = [replace(row, source="surrogate") for row in w.measure(24, concave(w, rng), 0.0005, rng)]
    fitted = choose(rows, w.described(), no_classes(), rng)
    assert np.isnan(fitted.rho)
    assert fitted.name == "table"
    out = folds([*rows, w.row(w.batch(rng), 0.0, group="b"), w.row(w.batch(rng), 0.1, group="b")], 2, rng)
    assert not out[:, :24].any()
    assert out[:, 24:].all()


def test_few_rows_are_not_judged() -> None:
    rng = np.random.default_rng(1)
    w = world(rng)
    fitted = choose(w.measure(4, concave(w, rng), 0.001, rng), w.described(), no_classes(), rng)
    assert fitted.name == "table"
    assert np.isnan([fitted.rho, *fitted.rho_interval, fitted.rho_table, fitted.rho_net]).all()
    alone = [w.row(w.batch(rng), 0.01 * k, 0.001, f"g{k}") for k in range(8)]
    assert np.isnan(choose(alone, w.described(), no_classes(), rng).rho)


def test_folds_hold_out_pairs_of_a_group() -> None:
    rng = np.random.default_rng(2)
    w = world(rng, images=60)
    groups = [*"aaaaaaa", *"bb", "c", *"ddddddddddddd"]
    rows = [w.row(w.batch(rng, 10, 10), 0.0, group=g) for g in groups]
    out = folds(rows, 2, rng)
    assert (out.sum(axis=0) == np.where(np.array(groups) == "c", 0, 2)).all()
    for line in out:
        for g in "abd":
            assert (line & (np.array(groups) == g)).sum() != 1


def test_interval() -> None:
    low, high = interval(0.5, 30)
    assert np.arctanh(high) - np.arctanh(0.5) == pytest.approx(1.96 * 1.03 / 28**0.5)
    assert np.arctanh(low) + np.arctanh(high) == pytest.approx(2 * np.arctanh(0.5))
    assert interval(0.5, 2) == (-1.0, 1.0)
    assert np.isnan(interval(float("nan"), 30)).all()

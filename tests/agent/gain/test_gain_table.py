from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.gain.cells import Cells
from agent.gain.nnls import nnls
from agent.gain.rows import Rows
from agent.gain.table import GainTable
from tests.agent.gain.tables import fitted, of_cells
from tests.agent.gain.test_gain_worlds import concave, world


def shaped(table: GainTable) -> None:
    t = of_cells(table, 60)
    assert (t[:, 0] == 0).all()
    assert (np.diff(t) >= -1e-12).all()
    assert (np.diff(t, n=2) <= 1e-12).all()


def test_a_planted_table_is_recovered() -> None:
    rng = np.random.default_rng(0)
    w = world(rng)
    gain = concave(w, rng)
    table = fitted(w.measure(150, gain, 0.0005, rng), w.phi, rng, cells=6)
    shaped(table)
    fresh = [w.batch(rng) for _ in range(200)]
    truth = np.array([gain(b) for b in fresh])
    read, std = np.array([table.estimate(w.phi[b]) for b in fresh]).T
    assert np.corrcoef(truth, read)[0, 1] > 0.97
    assert 0.3 < np.sqrt(np.mean(((truth - read) / std) ** 2)) < 3  # it knows how wrong it is


def test_what_groups_share_is_not_taken_for_the_batches() -> None:
    rng = np.random.default_rng(1)
    w = world(rng)
    gain = concave(w, rng)
    rows = []
    for k in range(60):  # controls ten times as noisy as the differences between batches
        batch = w.batch(rng)
        offset = 0.05 * np.sin(17.0 * (k % 6) + 1)
        rows.append(w.row(batch, gain(batch) + offset + 0.0005 * rng.normal(), 0.0005, f"g{k % 6}"))
    table = fitted(rows, w.phi, rng, cells=6)
    fresh = [w.batch(rng) for _ in range(200)]
    read = [table.estimate(w.phi[b])[0] for b in fresh]
    assert np.corrcoef([gain(b) for b in fresh], read)[0, 1] > 0.9


def test_the_content_of_a_batch_counts() -> None:
    rng = np.random.default_rng(2)
    w = world(rng, clusters=1)
    rows = w.measure(80, lambda batch: 0.01 + 0.001 * float(w.phi[batch, 0].sum()), 0.0005, rng)
    table = fitted(rows, w.phi, rng)
    fresh = [w.batch(rng) for _ in range(200)]
    truth = [float(w.phi[b, 0].sum()) for b in fresh]
    assert np.corrcoef(truth, [table.estimate(w.phi[b])[0] for b in fresh])[0, 1] > 0.9


@pytest.mark.parametrize("n", [0, 1, 4])
def test_few_rows_say_spread_the_batch(n: int) -> None:
    rng = np.random.default_rng(3)
    w = world(rng)
    rows = w.measure(n, lambda _: 0.02, 0.001, rng)
    table = fitted(rows, w.phi, rng, cells=6, refits=200)
    shaped(table)
    spread = table.estimate(w.phi[np.arange(30)])
    crowded = table.estimate(w.phi[w.label == 0][:30])
    assert spread[0] > 1.3 * crowded[0]
    if n:
        assert np.mean([table.estimate(row.phi)[0] for row in rows]) == pytest.approx(0.02, rel=0.35)
    assert spread[1] > 0.4 * spread[0]


def test_gains_below_zero_leave_a_table_that_still_spreads() -> None:
    rng = np.random.default_rng(4)
    w = world(rng)
    table = fitted(w.measure(12, lambda _: -0.01, 0.002, rng), w.phi, rng, cells=6)
    shaped(table)
    assert 0 < of_cells(table, 10)[:, 5].sum() < 0.05


def test_a_batch_is_the_sum_of_its_images_codes() -> None:
    rng = np.random.default_rng(5)
    w = world(rng)
    table = fitted(w.measure(30, concave(w, rng), 0.001, rng), w.phi, rng)
    codes = table.codes(w.phi[:20]).astype(np.float64)
    mean, std = table.read(codes.sum(axis=0)[None] - codes[:5].sum(axis=0))
    np.testing.assert_allclose((mean[0], std[0]), table.estimate(w.phi[5:20]), atol=1e-5)
    mean, std = table.read(np.zeros((1, table.codes(w.phi[:1]).shape[1])))
    assert mean[0] == std[0] == 0.0


def test_same_seed_same_table() -> None:
    w = world(np.random.default_rng(6))
    rows = w.measure(20, lambda batch: 0.0005 * len(batch), 0.002, np.random.default_rng(0))
    one, same, other = (fitted(rows, w.phi, np.random.default_rng(s)).weights for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_shares_sum_to_one_and_follow_distance() -> None:
    rng = np.random.default_rng(7)
    w = world(rng)
    cells = Cells.fit(w.phi, rng, 6)
    share = cells.share(w.phi)
    np.testing.assert_allclose(share.sum(axis=1), 1.0)
    np.testing.assert_allclose(cells.share(cells.centres).argmax(axis=1), np.arange(len(cells.centres)))
    assert np.isfinite(cells.share(np.full((1, w.phi.shape[1]), 1e4))).all()


@pytest.mark.parametrize("pool", [np.zeros((1, 3), np.float32), np.ones((50, 3), np.float32)])
def test_a_pool_of_one_kind_has_one_cell(pool: np.ndarray) -> None:
    assert len(Cells.fit(pool, np.random.default_rng(0), 8).centres) == 1


def test_what_cannot_be_fitted_is_named() -> None:
    rng = np.random.default_rng(8)
    w = world(rng)
    with pytest.raises(ValueError, match="pool has no images"):
        fitted([], w.phi[:0], rng)
    with pytest.raises(ValueError, match=r"10 columns and the pool 4: .*aligned"):
        fitted(w.measure(3, len, 0.1, rng), w.phi[:, :4], rng)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**31 - 1))
def test_nnls_meets_the_optimality_conditions(p: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(rng.integers(1, 15), p))
    gram, moment, free = a.T @ a + 0.05 * np.eye(p), rng.normal(size=p), rng.random(p) < 0.3
    b = nnls(gram, moment, free)
    slope = gram @ b - moment
    assert (b[~free] >= 0).all()
    np.testing.assert_allclose(slope[free | (b > 0)], 0, atol=1e-8)
    assert (slope >= -1e-8)[~free].all()


def test_with_nothing_measured_all_refits_tell_batches_apart_alike() -> None:
    """A refit that finds batches worth little is no less sure of which is worth more."""
    rng = np.random.default_rng(5)
    w = world(rng)
    table = fitted(Rows(), w.phi, rng, cells=6, refits=40)
    sums = np.stack([table.codes(w.phi[w.batch(rng)]).sum(axis=0, dtype=np.float64) for _ in range(100)])
    relative = table.relative(sums)
    typical = relative.mean(axis=0)
    assert typical.max() / typical.min() < 1.5  # one level
    spread = (relative / typical).std(axis=0)
    assert spread.max() < 2.5 * np.median(spread)  # and none of them says much more than the others
    assert np.corrcoef(relative.mean(axis=1), table.draws(sums).mean(axis=1))[0, 1] > 0.95

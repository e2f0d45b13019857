"""What boxes of a class are worth: the power law, and how it is read off φ."""

from __future__ import annotations

import numpy as np
import pytest

from agent.cells import Cells
from agent.class_curves import ClassCurves
from agent.gain_fit import fit_gains, in_basis
from agent.gain_rows import Row, Rows
from agent.gain_table import GainTable
from agent.phi import describe_pool
from agent.pool import Pool
from agent.ranks import spearman
from tests.agent.pools import random_pool


@pytest.fixture(scope="module")
def pool() -> Pool:
    return random_pool(60)


def test_the_power_law_by_hand(pool: Pool) -> None:
    classes = ClassCurves.of(describe_pool(pool), pool.expected, np.array([0.0, 3.0, 99.0, 8.0]))
    got = classes.worth(np.array([[3.0, 5.0, 300.0, 0.0]]))
    np.testing.assert_allclose(got, [[1 - 1 / 2, 1 / 2 - 1 / 3, 0.1 - 0.05, 0.0]])
    known = np.array([[8.0, 8.0, 8.0, 8.0]])
    np.testing.assert_allclose(classes.worth(np.array([[0.0, 7.0, 0.0, 0.0]]), known), [[0, 1 / 3 - 1 / 4, 0, 0]])


def test_boxes_are_read_back_from_a_description(pool: Pool) -> None:
    phi = describe_pool(pool)
    classes = ClassCurves.of(phi, pool.expected, np.zeros(4))
    np.testing.assert_allclose(classes.boxes(phi.values), pool.expected, atol=1e-4)
    np.testing.assert_allclose(classes.usual, pool.expected.mean(axis=0), rtol=1e-5)


def test_with_nothing_measured_a_batch_of_a_rare_class_is_worth_more(pool: Pool) -> None:
    phi = describe_pool(pool)
    known = np.array([400.0, 400.0, 400.0, 0.0])
    classes = ClassCurves.of(phi, pool.expected, known)
    rng = np.random.default_rng(0)
    table = GainTable.on([], Cells.fit(phi.values, rng, 8, phi.columns), classes, rng, len(phi.columns), 20)
    rare = np.argsort(-pool.expected[:, 3])[:8]
    common = np.argsort(-pool.expected[:, 0] + pool.expected[:, 3])[:8]
    assert table.estimate(phi.values[rare])[0] > 1.1 * table.estimate(phi.values[common])[0]
    assert table.read(np.zeros((1, table.codes(phi.values[:1]).shape[1])))[0] == pytest.approx(0.0)


def test_measured_rows_are_taken_with_what_was_known_then(pool: Pool) -> None:
    """Gains that follow the power law at the time of the measurement, with other counts than now, fit it exactly."""
    phi = describe_pool(pool)
    rng = np.random.default_rng(1)
    classes = ClassCurves.of(phi, pool.expected, np.full(4, 200.0))
    then = dict(zip(pool.names, [2.0, 40.0, 5.0, 0.0], strict=True))
    rows = []
    for _ in range(40):
        batch = rng.choice(60, 8, replace=False)
        boxes = pool.expected[batch].sum(axis=0, dtype=np.float64)
        gain = 0.05 * float(classes.worth(boxes[None], np.array([list(then.values())])).sum())
        named = dict(zip(pool.names, boxes.tolist(), strict=True))
        row = Row(pool.ids[batch], phi.values[batch], gain, 1e-3, "hindsight", "g", 1, phi.columns, named, then)
        rows.append(row)
    table = GainTable.on(rows, Cells.fit(phi.values, rng, 8, phi.columns), classes, rng, len(phi.columns), 20)
    assert np.corrcoef(table.predict(rows), [row.gain for row in rows])[0, 1] > 0.95


def test_noise_does_not_overturn_what_is_known() -> None:
    """Gains follow the power law, and are half as noisy as they are large: the table goes on ordering batches by it.

    Of its strengths the likeliest by 16 such rows was often one that fits the noise: .85 instead of 1.
    """
    pool = random_pool(120)
    phi = describe_pool(pool)
    known = np.array([20.0, 5.0, 40.0, 10.0])
    classes = ClassCurves.of(phi, pool.expected, known)
    then = dict(zip(pool.names, known.tolist(), strict=True))
    kept = []
    for seed in range(8):
        rng = np.random.default_rng(seed)

        def draw(rng: np.random.Generator = rng) -> tuple[np.ndarray, np.ndarray, float]:
            batch = rng.choice(len(pool), 8, replace=False)
            boxes = pool.expected[batch].sum(axis=0, dtype=np.float64)
            return batch, boxes, 0.06 * float(classes.worth(boxes[None]).sum())

        rows = []
        for batch, boxes, gain in (draw() for _ in range(16)):
            named = dict(zip(pool.names, boxes.tolist(), strict=True))
            seen = gain + 0.006 * rng.normal()
            rows.append(
                Row(pool.ids[batch], phi.values[batch], seen, 0.006, "hindsight", "g", 1, phi.columns, named, then)
            )
        table = GainTable.on(rows, Cells.fit(phi.values, rng, 8, phi.columns), classes, rng, len(phi.columns), 20)
        fresh = [draw() for _ in range(100)]
        told = [table.estimate(phi.values[batch])[0] for batch, _, _ in fresh]
        kept.append(spearman([gain for _, _, gain in fresh], told))
    assert np.mean(kept) > 0.95


def test_rows_get_the_components_of_the_encoder_that_serves(pool: Pool) -> None:
    phi = describe_pool(pool)
    batch = np.array([3, 5, 9])
    stale = phi.values[batch].copy()
    components = [k for k, name in enumerate(phi.columns) if name.startswith("component_")]
    stale[:, components] = 99.0
    ids = pool.ids[batch].copy()
    ids[2] = 10**9  # a task that is gone
    row = Row(ids, stale, 0.1, 0.0, "hindsight", "g", 1, phi.columns)
    (fresh,) = in_basis(Rows([row]), pool, phi)
    np.testing.assert_allclose(fresh.phi[:2], phi.values[batch[:2]], atol=1e-4)
    assert (fresh.phi[2, components] == 0).all()
    assert fit_gains(pool, phi, Rows([row]), 2, np.random.default_rng(0)).name == "table"

"""What boxes of a class are worth: the power law, and how it is read off φ."""

from __future__ import annotations

import numpy as np
import pytest

from agent.gain.cells import Cells
from agent.gain.class_curves import ClassCurves, curve, half_learned
from agent.gain.fit import fit_gains, in_basis
from agent.gain.ranks import spearman
from agent.gain.rows import Row, Rows
from agent.gain.table import GainTable
from agent.pool.phi import describe_pool
from agent.pool.pool import Pool
from tests.agent.pools import random_pool


@pytest.fixture(scope="module")
def pool() -> Pool:
    return random_pool(60)


def test_the_power_law_of_the_odds_by_hand() -> None:
    # 31 boxes more than the one that everything counts as: 32^0.8 = 16
    np.testing.assert_allclose(curve(np.array([0.0, 31.0]), np.array([1.0, 1.0])), [1 / 2, 16 / 17])
    np.testing.assert_allclose(curve(np.array([31.0]), np.array([32.0])), [1 / 2])


def test_what_boxes_add_is_the_rise_of_the_curve(pool: Pool) -> None:
    labeled_boxes = np.array([0.0, 3.0, 99.0, 8.0])
    classes = ClassCurves.of(describe_pool(pool), pool.expected, labeled_boxes, np.full(4, -1.0))
    boxes = np.array([[3.0, 5.0, 300.0, 0.0]])
    expected = curve(labeled_boxes + boxes, classes.half) - curve(labeled_boxes, classes.half)
    np.testing.assert_allclose(classes.worth(boxes), expected)
    assert classes.worth(boxes)[0, 3] == 0
    other = np.array([[8.0, 8.0, 8.0, 8.0]])
    np.testing.assert_allclose(
        classes.worth(boxes, other), curve(other + boxes, classes.half) - curve(other, classes.half)
    )


def test_the_tenth_box_is_worth_less_than_the_first(pool: Pool) -> None:
    classes = ClassCurves.of(describe_pool(pool), pool.expected, np.array([0.0, 3.0, 30.0, 300.0]), np.full(4, -1.0))
    added = np.diff(classes.worth(np.arange(200.0)[:, None].repeat(4, axis=1)), axis=0)
    assert (added > 0).all()
    assert (np.diff(added, axis=0) < 0).all()


def test_all_classes_have_the_half_under_which_their_mean_ap_is_the_measured_one() -> None:
    labeled_boxes = np.array([2.0, 10.0, 40.0])
    half = half_learned(curve(labeled_boxes, np.full(3, 25.0)), labeled_boxes)
    np.testing.assert_allclose(half, 25, rtol=1e-6)


def test_a_measured_ap_counts_by_the_boxes_behind_it() -> None:
    """Of two classes with AP 0.1 and 0.9 and as many boxes: with few boxes they are taken for alike, with many not."""
    few, many = (half_learned(np.array([0.1, 0.9]), np.full(2, count)) for count in (5.0, 5000.0))
    assert few[0] / few[1] < 1.5
    np.testing.assert_allclose(curve(np.full(2, 5000.0), many), [0.1, 0.9], atol=0.01)


@pytest.mark.parametrize("ap", [-1.0, 0.0, 1.0])
def test_what_is_not_known_of_classes_breaks_nothing(ap: float) -> None:
    half = half_learned(np.full(3, ap), np.array([0.0, 1.0, 1e6]))
    assert np.isfinite(half).all()
    assert (half > 0).all()


def test_boxes_are_read_back_from_a_description(pool: Pool) -> None:
    phi = describe_pool(pool)
    classes = ClassCurves.of(phi, pool.expected, np.zeros(4), pool.class_ap)
    np.testing.assert_allclose(classes.boxes(phi.values), pool.expected, atol=1e-4)
    np.testing.assert_allclose(classes.usual, pool.expected.mean(axis=0), rtol=1e-5)


def test_with_nothing_measured_a_batch_of_a_rare_class_is_worth_more(pool: Pool) -> None:
    phi = describe_pool(pool)
    labeled_boxes = np.array([400.0, 400.0, 400.0, 0.0])
    classes = ClassCurves.of(phi, pool.expected, labeled_boxes, pool.class_ap)
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
    classes = ClassCurves.of(phi, pool.expected, np.full(4, 200.0), pool.class_ap)
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
    labeled_boxes = np.array([20.0, 5.0, 40.0, 10.0])
    classes = ClassCurves.of(phi, pool.expected, labeled_boxes, pool.class_ap)
    then = dict(zip(pool.names, labeled_boxes.tolist(), strict=True))
    rhos = []
    for seed in range(8):
        rng = np.random.default_rng(seed)

        def draw(rng: np.random.Generator = rng) -> tuple[np.ndarray, np.ndarray, float]:
            batch = rng.choice(len(pool), 8, replace=False)
            boxes = pool.expected[batch].sum(axis=0, dtype=np.float64)
            return batch, boxes, 0.06 * float(classes.worth(boxes[None]).sum())

        rows = []
        for batch, boxes, gain in (draw() for _ in range(16)):
            named = dict(zip(pool.names, boxes.tolist(), strict=True))
            measurement = gain + 0.006 * rng.normal()
            rows.append(
                Row(
                    pool.ids[batch],
                    phi.values[batch],
                    measurement,
                    0.006,
                    "hindsight",
                    "g",
                    1,
                    phi.columns,
                    named,
                    then,
                )
            )
        table = GainTable.on(rows, Cells.fit(phi.values, rng, 8, phi.columns), classes, rng, len(phi.columns), 20)
        fresh = [draw() for _ in range(100)]
        estimates = [table.estimate(phi.values[batch])[0] for batch, _, _ in fresh]
        rhos.append(spearman([gain for _, _, gain in fresh], estimates))
    assert np.mean(rhos) > 0.95


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

"""How many boxes an image counts for: by how undecided the detector is about them."""

from __future__ import annotations

import numpy as np
import pytest

from agent.gain.content import DOUBT, Content
from agent.gain.fit import fit_gains
from agent.gain.rows import Rows
from agent.gain.table import GainTable
from agent.inner_loop.values import Described
from agent.pool.descriptors import binary_entropy
from agent.pool.newness import share_of_twins
from agent.pool.phi import Phi, describe_pool
from agent.pool.pool import Pool
from model.data.dataset import Dataset
from tests.agent.pools import detections_of, pool_of, random_pool


def counted(pool: Pool, phi: Phi) -> np.ndarray:
    content = Content.of(pool, phi)
    assert content is not None
    return content.counted(pool.expected, phi.values)


def test_the_formula_by_hand() -> None:
    """Of a class of AP 0, whose weight in the entropy is 1.2: images with one even chance, with three, with none."""
    pool = pool_of([detections_of([[0.5]] * count) for count in (1, 3, 0)], [[0.0], [1.0], [2.0]], class_ap=[0.0])
    doubt = 1.2 * float(binary_entropy(np.array(0.5))) * np.array([1.0, 3.0, 0.0])
    raw = np.log1p(doubt / doubt.mean())
    expected = raw * (0.5 + 1.5) / raw.sum()
    np.testing.assert_allclose(counted(pool, describe_pool(pool))[:, 0], expected, rtol=1e-4, atol=1e-6)


def test_all_images_together_count_for_the_boxes_that_are_expected() -> None:
    pool = random_pool(60)
    boxes = counted(pool, describe_pool(pool))
    np.testing.assert_allclose(boxes.sum(), pool.expected.sum(), rtol=1e-4)
    assert (boxes[pool.expected.sum(axis=1) == 0] == 0).all()
    some = pool.expected.sum(axis=1) > 0
    shares = pool.expected[some] / pool.expected[some].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(boxes[some] / boxes[some].sum(axis=1, keepdims=True), shares, rtol=1e-4)


def test_a_sure_image_counts_for_less_than_a_doubtful_one_with_as_many_boxes() -> None:
    images = [detections_of([[0.98]] * 4), detections_of([[0.49]] * 8), detections_of([])]  # 3.92 boxes are expected
    pool = pool_of(images, [[0.0], [1.0], [2.0]], class_ap=[0.5])
    sure, doubtful, _ = counted(pool, describe_pool(pool))[:, 0]
    assert sure < doubtful / 2


def test_ten_times_the_boxes_count_for_less_than_ten_times() -> None:
    pool = pool_of([detections_of([[0.5]] * k) for k in (1, 10)], [[0.0], [1.0]], class_ap=[0.5])
    few, many = counted(pool, describe_pool(pool))[:, 0]
    assert 1 < many / few < 10


def test_where_no_box_is_in_doubt_the_expected_ones_count() -> None:
    pool = pool_of([detections_of([]), detections_of([])], [[0.0], [1.0]], class_ap=[0.5])
    phi = describe_pool(pool)
    assert Content.of(pool, phi) is None
    assert (pool.column(DOUBT) == 0).all()
    model = fit_gains(pool, phi, Rows(), 1, np.random.default_rng(0)).model
    assert np.isfinite(model.draws(model.codes(phi.values))).all()


def frames(scenes: int, each: int) -> Pool:
    """Scenes far from each other, and as many frames of each, which differ by little."""
    rng = np.random.default_rng(0)
    encodings = np.repeat(rng.normal(size=(scenes, 8)), each, axis=0) + rng.normal(size=(scenes * each, 8)) * 0.01
    images = [detections_of(rng.random((rng.integers(0, 5), 4)) ** 3, 4) for _ in encodings]
    return pool_of(images, encodings, labeled=rng.normal(size=(3, 8)), class_ap=[-1.0, 0.1, 0.5, 0.9])


@pytest.mark.parametrize(("pool", "twins"), [(frames(60, 1), 0.0), (frames(20, 3), 1.0)])
def test_doubt_counts_where_scenes_come_again_and_expected_boxes_elsewhere(pool: Pool, twins: float) -> None:
    assert share_of_twins(pool) == twins
    phi = describe_pool(pool)
    boxes = counted(pool, phi) if twins else pool.expected
    model = fit_gains(pool, phi, Rows(), 1, np.random.default_rng(0)).model
    assert isinstance(model, GainTable)
    cells = len(model.cells.centres)
    np.testing.assert_allclose(model.codes(phi.values)[:, cells : cells + 4], boxes, rtol=1e-3, atol=1e-5)
    ablation = fit_gains(pool, phi, Rows(), 1, np.random.default_rng(0), doubt=False).model
    np.testing.assert_allclose(ablation.codes(phi.values)[:, cells : cells + 4], pool.expected, rtol=1e-3, atol=1e-5)
    rows = np.array([3, 9])
    described = Described.of(pool, phi, rows, Dataset((), tuple(pool.names)))
    np.testing.assert_allclose(described.expected, boxes[rows], rtol=1e-3, atol=1e-5)


def test_a_frame_of_a_labeled_scene_has_a_twin_too() -> None:
    pool = frames(60, 1)
    labeled = np.asarray(pool.encodings)[:30] + 1e-3
    beside = pool_of([detections_of([], 4)] * 60, np.asarray(pool.encodings), labeled=labeled, class_ap=[0.5] * 4)
    assert share_of_twins(beside) == 0.5


def test_few_images_have_no_twins() -> None:
    for count in (0, 1):
        pool = pool_of([detections_of([[0.5]])] * count, np.zeros((count, 1)), class_ap=[0.5])
        assert share_of_twins(pool) == 0
    same = pool_of([detections_of([[0.5]])] * 3, np.zeros((3, 1)), class_ap=[0.5])
    assert share_of_twins(same) == 0  # no image differs from another: nothing says what is near

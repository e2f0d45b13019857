from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from agent.pool.descriptors import describe
from agent.pool.pool import COLUMNS, Pool
from model.data.detections import Detections
from model.detectors.base import Picture
from model.detectors.yolo import YoloDetector
from model.synthetic.scenes import NAMES, scene
from tests.agent.pools import detections_of, pool_of, random_pool


def test_descriptors_by_hand() -> None:
    # Channels of standard deviation 1 and 10, so that each becomes +-1 / sqrt(2).
    pool = pool_of(
        [detections_of([[0.5, 0.1], [0.2, 0.9]]), detections_of([], 2)],
        [[1, 10], [-1, 10]],
        labeled=[[1, -10], [-1, -10]],
        class_ap=[0.75, -1],
        ids=[40, 7],
    )
    assert pool.ids.tolist() == [40, 7]
    assert pool.names == ("c0", "c1")
    np.testing.assert_allclose(pool.expected, np.array([[0.7, 1.0], [0, 0]]), rtol=1e-6)
    by_hand: dict[str, list[float]] = {
        "max_entropy": [1.018230, 0],
        "expected_boxes": [1.7, 0],
        "novelty": [np.sqrt(2), np.sqrt(2)],
        "density": [np.sqrt(2), np.sqrt(2)],
        "weakness": [0.7 * 0.25 + 1.0 * 1, 0],
    }
    for name, values in by_hand.items():
        np.testing.assert_allclose(pool.column(name), values, atol=1e-6, err_msg=name)


def test_with_nothing_labeled_novelty_is_the_distance_to_the_mean() -> None:
    pool = pool_of([detections_of([], 1)] * 3, [[1, 5], [-1, 5], [0, 5]])
    np.testing.assert_allclose(pool.column("novelty"), np.sqrt([1.5 / 2, 1.5 / 2, 0]), atol=1e-6)


def test_shapes_and_types() -> None:
    pool = random_pool(17, labeled=5, classes=3, width=6)
    assert len(pool) == 17
    assert pool.columns == COLUMNS
    assert [a.shape for a in (pool.encodings, pool.descriptors, pool.expected)] == [(17, 6), (17, 9), (17, 3)]
    assert pool.labeled_encodings.shape == (5, 6)
    assert pool.ids.dtype == np.int64
    assert {a.dtype for a in (pool.standardised, pool.descriptors, pool.expected)} == {np.dtype(np.float32)}
    with pytest.raises(KeyError, match=r"'beauty'.*mean_entropy"):
        pool.column("beauty")


@pytest.mark.parametrize("labeled", [np.zeros(0), np.zeros((0, 4)), np.ones((3, 4))])
@pytest.mark.parametrize("n", [0, 1])
def test_tiny_pools(n: int, labeled: np.ndarray) -> None:
    pool = pool_of([detections_of([[0.3]])] * n, np.full((n, 4), 2.0), labeled=labeled)
    assert pool.descriptors.shape == (n, len(COLUMNS))
    assert pool.standardised.shape == pool.encodings.shape
    assert pool.labeled_encodings.shape == (len(labeled), pool.encodings.shape[1])
    assert (pool.column("density") == 0).all()


def test_what_cannot_be_a_pool_is_named() -> None:
    one, two = detections_of([[0.3, 0.2]]), np.ones((2, 4))
    ap = [0.5, 0.5]
    with pytest.raises(ValueError, match=r"\[5\] occur twice"):
        pool_of([one, one], two, class_ap=ap, ids=[5, 5])
    with pytest.raises(ValueError, match=r"encodings of images \[9\] are not finite"):
        pool_of([one, one], [[1, 2], [1, np.nan]], class_ap=ap, ids=[8, 9])
    with pytest.raises(ValueError, match="encodings of labeled images are not finite"):
        pool_of([one, one], two, class_ap=ap, labeled=[[1, 2, 3, np.inf]])
    with pytest.raises(ValueError, match="give -1 where the AP of a class is unknown"):
        pool_of([one, one], two, class_ap=[0.5, np.nan])
    with pytest.raises(ValueError, match="4 values but labeled_encodings 3: encode both with the same detector"):
        pool_of([one, one], two, class_ap=ap, labeled=np.ones((1, 3)))
    with pytest.raises(ValueError, match="2 class scores a box, for 1 classes"):
        pool_of([one, one], two, class_ap=[0.5])
    with pytest.raises(ValueError, match="1 ids, detections of 2 images, 2 encodings"):
        pool_of([one, one], two, class_ap=ap, ids=[1])
    with pytest.raises(ValueError, match=r"class_ap has shape \(1,\) for 2 classes"):
        Pool.from_detections([1], [one], two[:1], ["a", "b"], np.zeros(0), np.array([0.5]))


def test_the_expected_boxes_of_labeled_images_are_known_too() -> None:
    summaries = np.stack([describe(detections_of([[0.5, 0.1], [0.2, 0.9]])), describe(detections_of([], 2))])
    encodings = np.array([[1, 10], [-1, 10], [1, -10], [-1, -10]], np.float32)
    pool = Pool.from_summaries(
        [8, 9],
        summaries[::-1],
        encodings[:2],
        ["a", "b"],
        encodings[2:],
        np.array([0.75, -1]),
        labeled_ids=np.array([1, 2]),
        labeled_summaries=summaries,
    )
    assert pool.labeled_ids is not None
    assert pool.labeled_expected is not None
    np.testing.assert_allclose(pool.labeled_expected, np.array([[0.7, 1.0], [0, 0]]), rtol=1e-6)
    with pytest.raises(ValueError, match=r"labeled_ids has shape \(1,\), not \(2,\)"):
        replace(pool, labeled_ids=np.array([1]))


def confident(detector: YoloDetector) -> YoloDetector:
    """A new network scores near 0 everywhere: raise its bias until it finds boxes."""
    for branch in detector.module.model[-1].cv3:
        branch[-1].bias.data += 6.0
    return detector


@pytest.mark.parametrize("finds", [False, True])
def test_a_pool_of_what_a_real_detector_sees(finds: bool) -> None:
    """The detector looks while the pool is made; detections are let go as it runs."""
    detector = YoloDetector.new("yolo11n.yaml", NAMES, 64)
    if finds:
        confident(detector)
    pictures = [scene(3, k)[0] for k in range(7)]
    unlabeled, ids = pictures[:5], [11, 3, 25, 4, 19]
    labeled = detector.encode(pictures[5:])
    class_ap = np.linspace(-1, 1, len(NAMES))
    read: list[int] = []
    sizes: list[int] = []
    alive: list[weakref.ref[Detections]] = []
    encodings: list[np.ndarray] = []

    def stream() -> Iterator[Picture]:
        for image_id, picture in zip(ids, unlabeled, strict=True):
            read.append(image_id)
            yield picture

    def look() -> Iterator[Detections]:
        for detections, encoding in detector.scan(stream(), batch=2):
            assert len(read) - len(sizes) <= 2  # no further ahead than a batch
            sizes.append(len(detections))
            alive.append(weakref.ref(detections))
            encodings.append(encoding)
            yield detections

    pool = Pool.from_detections(ids, look(), encodings, detector.names, labeled, class_ap)

    whole = detector.predict(unlabeled, batch=2)
    expected = Pool.from_detections(ids, whole, detector.encode(unlabeled, batch=2), detector.names, labeled, class_ap)
    assert sizes == [len(detections) for detections in whole]
    assert not any(ref() for ref in alive)  # detections are let go
    assert pool.names == NAMES
    for name in ("ids", "encodings", "descriptors", "expected", "labeled_encodings", "class_ap"):
        np.testing.assert_array_equal(getattr(pool, name), getattr(expected, name), err_msg=name)
    assert (pool.column("expected_boxes") > 0).all() == finds
    assert (pool.column("novelty") > 0).all()


def test_a_pool_of_no_picture() -> None:
    pool = Pool.from_detections([], [], [], NAMES, np.ones((2, 5)), np.zeros(len(NAMES)))
    assert pool.encodings.shape == (0, 5)
    assert pool.expected.shape == (0, len(NAMES))

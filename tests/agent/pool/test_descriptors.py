from __future__ import annotations

import numpy as np
import pytest

from agent.pool.descriptors import BOX_COLUMNS, binary_entropy, class_weights, describe, weakness_of, weigh
from tests.agent.pools import detections_of


def described(class_scores: list[list[float]], class_ap: list[float]) -> tuple[dict[str, float], np.ndarray]:
    rows, expected = weigh(describe(detections_of(class_scores, len(class_ap)))[None], np.array(class_ap))
    return dict(zip(BOX_COLUMNS, rows[0].tolist(), strict=True)), expected[0]


def test_two_boxes_by_hand() -> None:
    # H(.5) = .693147, H(.1) = H(.9) = .325083, H(.2) = .500402
    got, expected = described([[0.5, 0.1], [0.2, 0.9]], class_ap=[1.0, 0.0])
    assert got == pytest.approx(
        {
            "max_entropy": 1.018230,
            "mean_entropy": (1.018230 + 0.825485) / 2,
            "weighted_entropy": 1.0 * 0.693147 + 1.2 * 0.325083,
            "least_confidence": 0.1,
            "margin": (0.4 + 0.7) / 2,
            "expected_boxes": 1.7,
        },
        abs=2e-6,
    )
    np.testing.assert_allclose(expected, [0.7, 1.0], rtol=1e-6)


def test_boxes_under_the_floor_do_not_count() -> None:
    assert described([[0.6, 0.2], [0.049, 0.01]], [0.5, 0.5])[0] == described([[0.6, 0.2]], [0.5, 0.5])[0]
    assert described([[0.6, 0.2], [0.05, 0.01]], [0.5, 0.5])[0] != described([[0.6, 0.2]], [0.5, 0.5])[0]


def test_doubtful_boxes_are_expected_as_far_as_they_score() -> None:
    got, expected = described([[0.6, 0.2], [0.24, 0.1], [0.04, 0.01]], [0.5, 0.5])
    np.testing.assert_allclose(expected, [0.84, 0.3], rtol=1e-6)
    assert got["expected_boxes"] == pytest.approx(1.14)


@pytest.mark.parametrize("class_scores", [[], [[0.04, 0.01], [0.02, 0.03]]])
def test_an_image_without_a_box_has_nothing_to_be_unsure_of(class_scores: list[list[float]]) -> None:
    got, expected = described(class_scores, [0.5, 0.5])
    assert got.pop("margin") == 1
    assert set(got.values()) == {0}
    np.testing.assert_array_equal(expected, [0, 0])


def test_one_class() -> None:
    got, _ = described([[0.5]], [-1.0])
    assert got["margin"] == pytest.approx(0.5)
    assert got["max_entropy"] == pytest.approx(np.log(2))


def test_binary_entropy_at_its_ends_and_its_middle() -> None:
    np.testing.assert_allclose(binary_entropy(np.array([0, 0.5, 1])), [0, np.log(2), 0], atol=1e-9)


def test_class_weights_are_those_of_ppal() -> None:
    # 1 + .06 ln((e^(1/.3) - 1) .5 + 1) = 1 + .06 ln 14.5158 = 1.16051
    np.testing.assert_allclose(class_weights(np.array([1.0, 0.5, 0.0, -1.0])), [1, 1.16051, 1.2, 1.2], atol=1e-5)


def test_an_unknown_class_is_as_weak_as_one_never_found() -> None:
    np.testing.assert_allclose(weakness_of(np.array([0.25, 0.0, -1.0])), [0.75, 1, 1])


def test_one_summary_serves_any_class_ap() -> None:
    rng = np.random.default_rng(0)
    images = [detections_of(rng.random((boxes, 3)), 3) for boxes in (0, 1, 5, 9)]
    summaries = np.stack([describe(image) for image in images])
    assert summaries.shape == (4, 4 + 2 * 3)
    for class_ap in ([1.0, 1.0, 1.0], [-1.0, 0.4, 0.9]):
        weights = class_weights(np.array(class_ap))
        by_box = [
            sum(weights[k] * binary_entropy(p) for k, p in zip(i.class_ids, i.scores, strict=True)) for i in images
        ]
        np.testing.assert_allclose(weigh(summaries, np.array(class_ap))[0][:, 2], by_box, rtol=1e-12)

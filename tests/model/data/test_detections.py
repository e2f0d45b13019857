"""Detections: what every part exchanges."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model.data.detections import Detections


def two_boxes() -> Detections:
    return Detections(
        xyxy=np.array([[10, 20, 40, 60], [0, 0, 5, 5]], np.float32),
        scores=np.array([0.9, 0.25], np.float32),
        class_ids=np.array([2, 0]),
        class_scores=np.array([[0.1, 0.2, 0.9], [0.25, 0.0, 0.1]], np.float32),
        size=(100, 80),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"xyxy": np.zeros((1, 4), np.float32)},
        {"xyxy": np.zeros((2, 5), np.float32)},
        {"class_ids": np.zeros(3, np.int64)},
        {"class_scores": np.zeros((1, 3), np.float32)},
    ],
)
def test_lengths_must_agree(change: dict) -> None:
    good = two_boxes()
    fields = {"xyxy": good.xyxy, "scores": good.scores, "class_ids": good.class_ids, "class_scores": good.class_scores}
    with pytest.raises(ValueError, match="must agree in length"):
        Detections(**(fields | change), size=good.size)


def test_no_box_at_all() -> None:
    empty = two_boxes().above(1.0)
    assert len(empty) == 0
    assert empty.class_scores.shape == (0, 3)
    assert empty.size == (100, 80)
    assert empty.to_coco(1) == []
    assert len(empty.above(0.5)) == 0
    assert empty.renamed(("a", "b", "c"), {"a": "x"}, ("x", "y")).class_scores.shape == (0, 2)


def test_above_keeps_the_threshold_itself() -> None:
    assert len(two_boxes().above(0.25)) == 2
    best = two_boxes().above(0.26)
    assert best.class_ids.tolist() == [2]
    assert best.xyxy.tolist() == [[10, 20, 40, 60]]
    assert best.class_scores.shape == (1, 3)


def test_to_coco_gives_x_y_width_height_as_plain_json() -> None:
    results = json.loads(json.dumps(two_boxes().to_coco(7)))
    assert results[0] == {"image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 40], "score": pytest.approx(0.9)}
    assert [r["category_id"] for r in results] == [3, 1]


def test_to_coco_adds_no_rounding_of_its_own() -> None:
    score = np.float32(0.1)
    detections = Detections(
        np.array([[0.1, 0.2, 0.7, 0.9]], np.float32), np.array([score]), np.array([0]), np.array([[score]]), (1, 1)
    )
    assert detections.to_coco(1)[0]["score"] == float(score)
    assert detections.to_coco(1)[0]["bbox"][2] == float(np.float32(0.7)) - float(np.float32(0.1))


def test_renamed_maps_merges_and_drops_classes() -> None:
    names, labels = ("car", "tree", "truck"), ("Person", "Vehicle")
    merged = two_boxes().renamed(names, {"car": "Vehicle", "truck": "Vehicle"}, labels)
    assert merged.class_ids.tolist() == [1, 1]
    np.testing.assert_allclose(merged.class_scores, [[0, 0.9], [0, 0.25]])
    trucks = two_boxes().renamed(names, {"truck": "Vehicle"}, labels)
    assert trucks.class_ids.tolist() == [1]
    np.testing.assert_allclose(trucks.scores, [0.9])
    assert trucks.size == (100, 80)

"""The reported mAP: cases worked out by hand, published figures, and pycocotools run directly."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from model.data.dataset import Dataset, LabeledImage
from model.data.detections import Detections
from model.detectors.yolo import YoloDetector
from model.evaluate import Metrics, detect, evaluate
from tests.model.made import squares
from tests.shared import SHARED, needs_shared

REFERENCE = SHARED / "data" / "map_reference"
Box = tuple[float, float, float, float]


def truth(*images: list[tuple[Box, int]], names: tuple[str, ...] = ("a", "b"), crowd: bool = False) -> Dataset:
    return Dataset(
        tuple(
            LabeledImage(
                k,
                Path(f"{k}.jpg"),
                (200, 200),
                np.array([box for box, _ in objects], np.float32).reshape(-1, 4),
                np.array([class_id for _, class_id in objects], np.int64),
                np.full(len(objects), crowd),
            )
            for k, objects in enumerate(images, start=1)
        ),
        names,
    )


def boxes(*rows: tuple[Box, int, float], classes: int = 2) -> Detections:
    scores = np.array([score for *_, score in rows], np.float32)
    class_ids = np.array([class_id for _, class_id, _ in rows], np.int64)
    class_scores = np.zeros((len(rows), classes), np.float32)
    class_scores[np.arange(len(rows)), class_ids] = scores
    xyxy = np.array([box for box, *_ in rows], np.float32).reshape(-1, 4)
    return Detections(xyxy, scores, class_ids, class_scores, (200, 200))


NOTHING = boxes()
ONE = pytest.approx(1.0, abs=1e-12)  # pycocotools divides by one hit plus the smallest float
SQUARE: Box = (50, 50, 150, 150)
ELSEWHERE: Box = (0, 0, 20, 20)


def test_a_perfect_detector_scores_one() -> None:
    metrics = evaluate(truth([(SQUARE, 0), (ELSEWHERE, 1)]), [boxes((SQUARE, 0, 0.9), (ELSEWHERE, 1, 0.8))])
    assert [metrics.map, metrics.map50, metrics.map75] == [ONE, ONE, ONE]
    assert metrics.per_class == {"a": ONE, "b": ONE}
    assert (metrics.images, metrics.boxes) == (1, 2)


def test_a_false_alarm_between_two_hits() -> None:
    """Hit, miss, hit of two objects: precision 1 up to recall 0.5 (51 of the 101 points), then 2/3 (the other 50)."""
    metrics = evaluate(
        truth([(SQUARE, 0)], [(SQUARE, 0)]), [boxes((SQUARE, 0, 0.9)), boxes((ELSEWHERE, 0, 0.8), (SQUARE, 0, 0.7))]
    )
    assert metrics.map == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)
    assert metrics.per_class["a"] == pytest.approx(metrics.map)


def test_an_object_that_is_never_found_halves_the_recall() -> None:
    metrics = evaluate(truth([(SQUARE, 0)], [(SQUARE, 0)]), [boxes((SQUARE, 0, 0.9)), NOTHING])
    assert metrics.map == pytest.approx(51 / 101, abs=1e-12)


def test_a_loose_box_counts_up_to_its_own_iou() -> None:
    """72 of 100 rows: IoU 0.72 passes .50, .55, .60, .65 and .70, five of ten thresholds."""
    metrics = evaluate(truth([(SQUARE, 0)]), [boxes(((50, 50, 150, 122), 0, 0.9))])
    assert [metrics.map, metrics.map50, metrics.map75] == [pytest.approx(0.5), ONE, 0.0]


def test_the_second_box_on_one_object_is_a_false_alarm() -> None:
    """Two boxes on the first object, then one on the second: as hit, miss, hit."""
    metrics = evaluate(
        truth([(SQUARE, 0)], [(SQUARE, 0)]), [boxes((SQUARE, 0, 0.9), (SQUARE, 0, 0.8)), boxes((SQUARE, 0, 0.7))]
    )
    assert metrics.map == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-12)


def test_a_class_without_ground_truth_is_minus_one_and_not_in_the_mean() -> None:
    metrics = evaluate(truth([(SQUARE, 0)]), [boxes((SQUARE, 0, 0.9), (ELSEWHERE, 1, 0.8))])
    assert metrics.per_class == {"a": ONE, "b": -1.0}
    assert metrics.map == ONE
    assert "b" not in str(metrics).partition("boxes")[2]


def test_a_class_that_is_never_found_is_zero_and_in_the_mean() -> None:
    metrics = evaluate(truth([(SQUARE, 0), (ELSEWHERE, 1)]), [boxes((SQUARE, 0, 0.9))])
    assert metrics.per_class == {"a": ONE, "b": 0.0}
    assert metrics.map == pytest.approx(0.5)


def test_no_detections_at_all() -> None:
    metrics = evaluate(truth([(SQUARE, 0)], []), [NOTHING, NOTHING])
    assert metrics == Metrics(0.0, 0.0, 0.0, {"a": 0.0, "b": -1.0}, images=2, boxes=1)


def test_no_ground_truth_at_all() -> None:
    metrics = evaluate(truth([], []), [boxes((SQUARE, 0, 0.9)), NOTHING])
    assert metrics == Metrics(-1.0, -1.0, -1.0, {"a": -1.0, "b": -1.0}, images=2, boxes=0)
    assert evaluate(truth(), []).map == -1.0


def test_a_crowd_is_neither_missed_nor_a_false_alarm() -> None:
    crowd = truth([(SQUARE, 0)], crowd=True).images[0]
    plain = truth([(ELSEWHERE, 0)]).images[0]
    dataset = Dataset((crowd, LabeledImage(2, plain.path, plain.size, plain.xyxy, plain.class_ids)), ("a", "b"))
    detections = boxes((SQUARE, 0, 0.9), ((60, 60, 100, 100), 0, 0.8))
    assert evaluate(dataset, [detections, boxes((ELSEWHERE, 0, 0.7))]).map == ONE
    assert evaluate(Dataset((crowd,), ("a", "b")), [detections]).map == -1.0


def test_images_are_paired_by_position_and_not_by_id() -> None:
    dataset = truth([(SQUARE, 0)], [(ELSEWHERE, 0)])
    backwards = Dataset(dataset.images[::-1], dataset.names)
    assert evaluate(backwards, [boxes((ELSEWHERE, 0, 0.9)), boxes((SQUARE, 0, 0.9))]).map == ONE


def test_detect_looks_at_every_image_in_order(detector: YoloDetector, tmp_path: Path) -> None:
    dataset = squares(tmp_path, 3)
    calls: list[tuple[int, int]] = []
    detections = detect(detector, dataset, report=lambda done, total, **_: calls.append((done, total)))
    assert calls == [(3, 3)]
    for one, image in zip(detections, dataset.images, strict=True):
        (alone,) = detector.predict([image.path])
        assert len(alone) > 0
        np.testing.assert_allclose(one.xyxy, alone.xyxy, atol=1e-3)
        np.testing.assert_allclose(one.class_scores, alone.class_scores, atol=1e-5)


def test_detect_gives_the_classes_of_the_data_set(detector: YoloDetector, tmp_path: Path) -> None:
    """The detector's ("red", "blue") as a data set names them, in an order of its own, one of them without a label."""
    images = squares(tmp_path, 2).images
    raw = detect(detector, Dataset(images, detector.names))
    for one, other in zip(detect(detector, Dataset(images, ("Bleu", "Rouge")), {"red": "Rouge"}), raw, strict=True):
        reds = other.class_ids == 0
        assert reds.any()
        assert one.class_ids.tolist() == [1] * reds.sum()
        np.testing.assert_array_equal(one.xyxy, other.xyxy[reds])
        np.testing.assert_array_equal(one.class_scores[:, 1], other.class_scores[reds, 0])
        assert (one.class_scores[:, 0] == 0).all()
    both = detect(detector, Dataset(images, ("Bleu", "Rouge")), {"red": "Rouge", "blue": "Bleu"})
    for one, other in zip(both, raw, strict=True):
        np.testing.assert_array_equal(one.class_ids, 1 - other.class_ids)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="1 detections for 2 images"):
        evaluate(truth([], []), [NOTHING])


def test_metrics_are_plain_json_and_nothing_is_printed(capsys: pytest.CaptureFixture) -> None:
    metrics = evaluate(truth([(SQUARE, 0)]), [boxes((SQUARE, 0, 0.9))])
    assert capsys.readouterr().out == ""  # pycocotools prints tables
    assert Metrics(**json.loads(json.dumps(metrics.to_dict()))) == metrics
    assert str(metrics) == "mAP 1.000  AP50 1.000  AP75 1.000  (1 images, 1 boxes: a 1.000)"


@cache
def reference_case(name: str) -> tuple[dict, list[dict], dict, Metrics]:
    """(ground truth, results, expected figures, what `evaluate` makes of them)."""
    read = [json.loads((REFERENCE / name / f"{part}.json").read_text()) for part in ("gt", "detections", "expected")]
    coco, results, expected = read
    dataset = Dataset.from_coco(coco, "images")
    position = {c["id"]: k for k, c in enumerate(sorted(coco["categories"], key=lambda c: c["id"]))}
    by_image: dict[int, list[tuple[Box, int, float]]] = {}
    for r in results:
        x, y, w, h = r["bbox"]
        box = ((x, y, x + w, y + h), position[r["category_id"]], r["score"])
        by_image.setdefault(r["image_id"], []).append(box)
    detections = [boxes(*by_image.get(i.id, []), classes=len(dataset.names)) for i in dataset.images]
    return coco, results, expected, evaluate(dataset, detections)


@needs_shared
def test_published_figures_of_coco_val2014() -> None:
    _, _, expected, metrics = reference_case("A_coco_val2014_fakebbox100")
    published = expected["published_faster_coco_eval"]
    assert metrics.map == pytest.approx(published["AP"], abs=1e-12)
    assert metrics.map50 == pytest.approx(published["AP50"], abs=1e-12)
    assert metrics.map75 == pytest.approx(published["AP75"], abs=1e-12)
    assert (metrics.images, metrics.boxes) == (100, 839)


@needs_shared
def test_voc_images_with_a_real_detector() -> None:
    _, _, expected, metrics = reference_case("C_voc2012_100_yolo_dets")
    assert metrics.map == pytest.approx(expected["pycocotools"]["AP"], abs=1e-12)
    assert metrics.map50 == pytest.approx(expected["pycocotools"]["AP50"], abs=1e-12)
    assert metrics.map75 == pytest.approx(expected["pycocotools"]["AP75"], abs=1e-12)
    for name, figures in expected["pycocotools_per_class"].items():
        assert metrics.per_class[name] == pytest.approx(figures["AP"], abs=1e-12), name


@needs_shared
@pytest.mark.parametrize("name", ["A_coco_val2014_fakebbox100", "C_voc2012_100_yolo_dets"])
def test_pycocotools_run_directly_agrees(name: str) -> None:
    """On the file's own areas, category ids and float64 boxes, none of which `evaluate` uses."""
    coco, results, _, metrics = reference_case(name)
    ground_truth = COCO()
    ground_truth.dataset = coco
    ground_truth.createIndex()
    run = COCOeval(ground_truth, ground_truth.loadRes(results), "bbox")
    run.evaluate()
    run.accumulate()
    run.summarize()
    assert [metrics.map, metrics.map50, metrics.map75] == pytest.approx(run.stats[:3].tolist(), abs=1e-12)

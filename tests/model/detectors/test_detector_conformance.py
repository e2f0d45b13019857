"""What every detector must do with pictures, whatever its family: one suite, run over each architecture that is cheap.

YOLO26 stands for the heads with two branches, and a miniature RT-DETR, made of ultralytics' own layers, for the
transformers; miniatures of RetinaNet, SSD and Faster R-CNN for the torchvision family. The second half of the suite, on
learning, is in `test_training_conformance.py`.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.data.detections import Detections
from model.data.images import ImageError, letterbox
from model.detectors.open import open_detector
from model.detectors.yolo import YoloDetector
from model.progress import Cancelled
from tests.model.made import SIDE, ULTRALYTICS, Trained, cancel

SIZES = [(96, 48), (48, 96), (64, 64), (40, 50), (50, 40), (50, 70), (9, 7)]


def assert_equal(one: Detections, two: Detections, tolerance: float = 0) -> None:
    assert one.size == two.size
    np.testing.assert_array_equal(one.class_ids, two.class_ids)
    np.testing.assert_allclose(one.xyxy, two.xyxy, atol=tolerance * SIDE)
    np.testing.assert_allclose(one.scores, two.scores, atol=tolerance)
    np.testing.assert_allclose(one.class_scores, two.class_scores, atol=tolerance)


def test_detections_are_well_formed(trained: Trained, pictures: list) -> None:
    results = trained.detector.predict(pictures)
    assert [r.size for r in results] == SIZES
    assert all(len(r) > 0 for r in results[:4])
    for r in results:
        width, height = r.size
        assert (r.xyxy.dtype, r.scores.dtype, r.class_ids.dtype) == (np.float32, np.float32, np.int64)
        assert (r.xyxy >= 0).all()
        assert (r.xyxy <= [width, height, width, height]).all()
        assert (r.xyxy[:, 2:] > r.xyxy[:, :2]).all()
        assert (r.scores > 0.001).all()
        assert (r.scores <= 1).all()
        assert (np.diff(r.scores) <= 0).all()
        assert r.class_scores.shape == (len(r), 2)
        assert (r.class_scores >= 0).all()
        np.testing.assert_array_equal(r.class_scores.max(axis=1, initial=0), r.scores)
        np.testing.assert_array_equal(r.class_scores[np.arange(len(r)), r.class_ids], r.scores)


def test_boxes_are_in_the_pixels_of_the_picture(trained: Trained, pictures: list) -> None:
    """Fitting a picture into the square by hand and mapping the boxes back by hand gives the same boxes."""
    for picture in pictures[:3]:
        square, scale, (left, top) = letterbox(picture, SIDE)
        (in_square,), (boxes,) = trained.detector.predict([square]), trained.detector.predict([picture])
        xyxy = np.clip((in_square.xyxy - [left, top, left, top]) / scale, 0, [*boxes.size, *boxes.size])
        inside = (xyxy[:, 2:] - xyxy[:, :2] > 0.5).all(axis=1)  # the rest lies in the grey border
        assert inside.any()
        np.testing.assert_allclose(boxes.xyxy, xyxy[inside], atol=1e-3)
        np.testing.assert_allclose(boxes.class_scores, in_square.class_scores[inside], atol=1e-6)


def test_one_plain_grey_picture(trained: Trained) -> None:
    (result,) = trained.detector.predict([np.full((SIDE, SIDE, 3), 128, np.uint8)])
    assert result.size == (SIDE, SIDE)
    assert np.isfinite(result.xyxy).all()


def test_no_pictures(trained: Trained) -> None:
    assert trained.detector.predict([]) == []
    assert list(trained.detector.scan([])) == []
    assert trained.detector.encode([]).shape == (0, trained.detector.encode([np.zeros((8, 8, 3), np.uint8)]).shape[1])


def test_scan_is_predict_and_encode(trained: Trained, pictures: list) -> None:
    scanned = list(trained.detector.scan(iter(pictures)))
    encodings = trained.detector.encode(pictures)
    assert encodings.shape[0] == len(pictures)
    assert encodings.dtype == np.float32
    for (detections, encoding), expected, row in zip(
        scanned, trained.detector.predict(pictures), encodings, strict=True
    ):
        assert_equal(detections, expected)
        np.testing.assert_array_equal(encoding, row)


def test_encodings_tell_pictures_apart(trained: Trained, pictures: list) -> None:
    encodings = trained.detector.encode(pictures)
    assert np.isfinite(encodings).all()
    assert encodings.std(axis=0).max() > 0
    np.testing.assert_array_equal(trained.detector.encode([pictures[2]])[0].shape, encodings[0].shape)


def test_the_batch_a_picture_comes_in_does_not_matter(trained: Trained, pictures: list) -> None:
    together = trained.detector.encode(pictures, batch=len(pictures))
    np.testing.assert_allclose(trained.detector.encode(pictures, batch=1), together, atol=1e-4)
    np.testing.assert_allclose(trained.detector.encode(pictures[::-1], batch=3)[::-1], together, atol=1e-4)
    best = [r.scores.max(initial=0) for r in trained.detector.predict(pictures, batch=2)]
    expected = [r.scores.max(initial=0) for r in trained.detector.predict(pictures)]
    np.testing.assert_allclose(best, expected, atol=1e-4)


def test_the_threshold_drops_the_rest(trained: Trained, pictures: list) -> None:
    every = trained.detector.predict(pictures)
    cut = float(np.median(np.concatenate([r.scores for r in every]))) + 1e-6
    for best, r in zip(trained.detector.predict(pictures, threshold=cut), every, strict=True):
        assert_equal(best, r.above(cut), tolerance=1e-6)


def test_predict_reports_and_can_be_cancelled(trained: Trained, pictures: list) -> None:
    reports: list[tuple[int, int]] = []
    trained.detector.predict(pictures, batch=3, report=lambda done, total, **_: reports.append((done, total)))
    assert reports == [(3, 7), (6, 7), (7, 7)]
    with pytest.raises(Cancelled):
        trained.detector.predict(pictures, batch=3, report=cancel)


def test_the_image_size_may_change(trained: Trained, pictures: list) -> None:
    """Whoever opens weights sets the size that suits the machine; what was seen before must not linger."""
    fresh, used = trained.detector.copy(), trained.detector.copy()
    used.predict(pictures[:1])
    fresh.image_size = used.image_size = 96
    for one, two in zip(used.predict(pictures), fresh.predict(pictures), strict=True):
        assert_equal(one, two)
    assert used.encode(pictures).shape == trained.detector.encode(pictures).shape


def test_an_unreadable_picture_is_named(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        trained.detector.predict([np.zeros((8, 8, 3), np.uint8), tmp_path / "broken.jpg"])


def test_save_and_open_give_the_same_predictions(trained: Trained, pictures: list, tmp_path: Path) -> None:
    trained.detector.save(tmp_path / "weights.pt")
    opened = open_detector(tmp_path / "weights.pt")
    assert opened.names == trained.detector.names
    assert opened.image_size == trained.detector.image_size
    for one, two in zip(opened.predict(pictures), trained.detector.predict(pictures), strict=True):
        assert_equal(one, two, tolerance=1e-5)
    np.testing.assert_allclose(opened.encode(pictures), trained.detector.encode(pictures), atol=1e-5)


@pytest.mark.parametrize("trained", ULTRALYTICS, indirect=True)
def test_ultralytics_opens_the_file_and_sees_the_same(trained: Trained, tmp_path: Path) -> None:
    """The whole way from pixels to boxes against ultralytics' own predictor, on a picture that fills the square."""
    import ultralytics

    path = tmp_path / "weights.pt"
    trained.detector.save(path)
    kind = ultralytics.RTDETR if trained.family == "rtdetr" else ultralytics.YOLO
    theirs: Any = kind(path)
    assert tuple(theirs.names.values()) == trained.detector.names
    if trained.family == "yolo26n":
        theirs.model.end2end = False  # we serve the branch that gives every class's score
    source = trained.data.images[0].path
    (result,) = theirs.predict(source, imgsz=SIDE, conf=0.001, iou=0.7, verbose=False, save=False, device="cpu")
    (ours,) = trained.detector.predict([source])
    n = min(len(ours), len(result.boxes), 5)
    assert n > 0
    np.testing.assert_allclose(ours.scores[:n], result.boxes.conf[:n].numpy(), atol=1e-3)
    # ultralytics leaves what RT-DETR finds beyond the picture's edge; annotators are not to be shown it
    theirs_inside = np.clip(result.boxes.xyxy[0].numpy(), 0, np.array(ours.size * 2))
    np.testing.assert_allclose(ours.xyxy[0], theirs_inside, atol=0.5)
    assert ours.class_ids[0] == result.boxes.cls[0]


@pytest.mark.parametrize("architecture", ["rtdetr-l.yaml", "yolov8n.yaml", "yolo11n.yaml", "yolo26n.yaml"])
def test_a_published_architecture_scans_saves_and_opens(architecture: str, tmp_path: Path) -> None:
    """As large as it is; those that are trained here are tiny ones of the same parts."""
    detector = YoloDetector.new(architecture, ("a", "b", "c"), SIDE)
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    (boxes,) = detector.predict([picture])
    assert len(boxes) > 0
    np.testing.assert_array_equal(boxes.class_scores.max(axis=1), boxes.scores)
    detector.save(tmp_path / "weights.pt")
    opened = open_detector(tmp_path / "weights.pt")
    assert opened.names == ("a", "b", "c")
    np.testing.assert_allclose(opened.encode([picture]), detector.encode([picture]), rtol=0.05, atol=0.01)


def test_a_head_with_two_branches_serves_the_one_with_every_score(pictures: list) -> None:
    """A YOLO26 checkpoint may have the other branch chosen, which gives one class a box."""
    plain = YoloDetector.new("yolo26n.yaml", ("a", "b", "c"), SIDE)
    module = copy.deepcopy(plain.module)
    module.end2end = True
    for one, two in zip(YoloDetector(module, SIDE).predict(pictures), plain.predict(pictures), strict=True):
        assert len(one) > 0
        assert_equal(one, two)

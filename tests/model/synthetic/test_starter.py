"""The starter weights and the corpus that they are made of."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from model.data.images import load_image
from model.detectors.base import FitConfig
from model.detectors.open import STARTER, open_detector
from model.evaluate import detect, evaluate
from model.synthetic import scenes
from model.synthetic.starter import NAMES, SIDE, corpus, picture
from tests.model.made import squares

RECORD = STARTER.with_suffix(".json")  # written when the weights are done
needs_starter = pytest.mark.skipif(not RECORD.exists(), reason=f"{STARTER.name} is not made yet: make starter")


def test_corpus_pictures_are_valid() -> None:
    pictures = [picture(0, k) for k in range(40)]
    all_classes = np.concatenate([classes for *_, classes in pictures])
    assert len(np.unique(all_classes)) > len(NAMES) / 2
    assert all_classes.max() < len(NAMES)
    for pixels, boxes, classes in pictures:
        assert pixels.shape == (SIDE, SIDE, 3)
        assert pixels.dtype == np.uint8
        assert pixels.std() > 1
        assert len(boxes) == len(classes)
        assert (boxes >= 0).all()
        assert (boxes <= SIDE).all()
        assert (boxes[:, 2:] > boxes[:, :2]).all()


def test_corpus_pictures_depend_on_seed_and_index_alone() -> None:
    for one, two in zip(picture(3, 8), picture(3, 8), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(picture(3, 8)[0], picture(3, 9)[0])
    assert not np.array_equal(picture(3, 8)[0], picture(4, 8)[0])


def test_corpus_files_hold_the_pictures(tmp_path: Path) -> None:
    dataset = corpus(tmp_path, 4, seed=2)
    assert [i.id for i in dataset.images] == [1, 2, 3, 4]
    assert dataset.names == NAMES
    for k, image in enumerate(dataset.images):
        pixels, boxes, classes = picture(2, k)
        np.testing.assert_array_equal(image.xyxy, boxes)
        np.testing.assert_array_equal(image.class_ids, classes)
        from_file = load_image(image.path).astype(float)
        assert np.abs(from_file - pixels).mean() < 12  # JPEG


def test_the_corpus_has_no_class_of_the_scenes() -> None:
    assert not set(NAMES) & set(scenes.NAMES)
    assert len(set(NAMES)) == len(NAMES) == 20


@needs_starter
def test_starter_weights() -> None:
    assert STARTER.stat().st_size < 8_000_000
    starter = open_detector("starter")
    assert starter.names == NAMES
    pixels = [picture(1, k)[0] for k in range(4)]
    assert max(detections.scores.max(initial=0) for detections in starter.predict(pixels)) > 0.3
    assert json.loads(RECORD.read_text())["metrics"]["map"] > 0.1


@needs_starter
def test_a_fine_tune_from_the_starter_learns_in_seconds(tmp_path: Path) -> None:
    dataset = squares(tmp_path, 4)
    config = FitConfig(epochs=20, min_steps=1, batch=4, image_size=64)
    fine_tune = open_detector("starter").fit(dataset, config)
    metrics = evaluate(dataset, detect(fine_tune, dataset))
    assert metrics.map50 > 0.9


@needs_starter
def test_without_a_network_a_published_name_gives_the_starter(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("model.detectors.yolo.download", lambda _: None)
    with caplog.at_level(logging.WARNING):
        detector = open_detector("yolo11x.pt")
    assert detector.names == NAMES
    assert "yolo11x.pt could not be downloaded: using the starter weights" in caplog.text

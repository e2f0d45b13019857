"""A version that shows no box says so, with the threshold that would show some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.label_studio.labels import LabelConfig
from backend.project.boxes.nothing_shown import nothing_shown
from backend.project.images import ShownBoxes
from backend.project.predictions import Predictions
from model.data.detections import Detections
from model.thresholds import Thresholds
from tests.backend.web.requests import CONFIG

MAP = {"car": "Car", "bus": "Bus"}


def scored(*scores: float, shown: bool = False) -> list:
    return [(k, "a.jpg", score, [{"id": "x"}] if shown else []) for k, score in enumerate(scores)]


def line(rows: list, extra: str = "") -> str:
    config = LabelConfig.parse(CONFIG.replace('toName="image">', f'toName="image" {extra}>'))
    return nothing_shown(rows, "v2", config, MAP, Thresholds(0.25))


def test_the_threshold_that_would_show_some_is_said() -> None:
    said = line(scored(0.0, 0.1478, 0.05))
    assert said.startswith("v2 shows no box in any of 3 images: none scores 0.25, the best has 0.15;")
    assert 'model_score_threshold="0.14"' in said
    assert "none scores 0.6" in line(scored(0.1), 'model_score_threshold="0.6"')
    assert 'model_score_threshold="0.034"' in line(scored(0.0347))


@pytest.mark.parametrize("rows", [scored(), scored(0.9, shown=True), [*scored(0.1), *scored(0.5, shown=True)]])
def test_where_a_box_is_shown_or_no_image_is_there_nothing_is_said(rows: list) -> None:
    assert line(rows) == ""


@pytest.mark.parametrize("rows", [scored(0.0), scored(0.0004), scored(1.0)])  # 1.0: of an earlier release
def test_a_threshold_that_helps_nobody_is_not_named(rows: list) -> None:
    assert "or anything near it; label more images" in line(rows)


def test_what_was_seen_keeps_the_best_score_of_a_label(tmp_path: Path) -> None:
    predictions = Predictions(tmp_path / "seen.sqlite")
    sink = ShownBoxes(
        predictions, {1: "a", 2: "b"}, LabelConfig.parse(CONFIG), ("cat", "car"), {"car": "Car"}, Thresholds(0.25)
    )
    corners = np.array([[0, 0, 9, 9]] * 3, np.float32)
    scores = np.array([0.9, 0.2, 0.1], np.float32)
    sink.keep(1, Detections(corners, scores, np.array([0, 1, 1]), np.zeros((3, 2), np.float32), (10, 10)))
    sink.keep(2, Detections(corners[:0], scores[:0], np.array([], int), np.zeros((0, 2), np.float32), (10, 10)))
    sink.flush()
    assert [(task, round(best, 3), result) for task, _, best, result in predictions.rows()] == [
        (2, 0.0, []),
        (1, 0.2, []),
    ]

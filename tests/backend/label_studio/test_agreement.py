"""Several annotators on one image: what most of them drew."""

from __future__ import annotations

from typing import Any

import numpy as np

from backend.label_studio.agreement import DISAGREED, agreed
from backend.label_studio.client import Task
from backend.label_studio.labels import LabelConfig, Reading, read
from backend.project.work import counting_of
from tests.backend.web.requests import CONFIG

SIZE = (100, 100)
LEFT, RIGHT = (10, 10, 20, 20), (60, 60, 20, 20)


def region(box: tuple[float, ...], label: str = "Car") -> dict[str, Any]:
    value = dict(zip(("x", "y", "width", "height"), box, strict=True)) | {"rectanglelabels": [label]}
    return {"from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}


def drew(*boxes: tuple[float, ...], label: str = "Car") -> Reading:
    return read([region(box, label) for box in boxes], LabelConfig.parse(CONFIG), SIZE)


def test_boxes_of_most_annotators_count_once_each_by_their_median() -> None:
    moved = (12, 10, 20, 20)
    far = (14, 10, 20, 20)
    together = agreed([drew(LEFT, RIGHT), drew(moved), drew(far)])
    assert together.problem is None
    np.testing.assert_allclose(together.xyxy, [[12, 10, 32, 30]])  # RIGHT is one annotator's
    assert together.class_ids.tolist() == [0]


def test_of_exactly_half_the_newest_is_believed() -> None:
    np.testing.assert_allclose(agreed([drew(LEFT), drew(RIGHT)]).xyxy, [[10, 10, 30, 30]])
    assert len(agreed([drew(), drew(LEFT)]).class_ids) == 0
    assert agreed([drew(), drew(LEFT)]).problem is None


def test_labels_are_not_mixed_and_one_annotator_has_one_vote() -> None:
    assert len(agreed([drew(LEFT), drew(LEFT, label="Bus"), drew(LEFT, label="Bus")]).class_ids) == 1
    twice = drew(LEFT, (11, 10, 20, 20))
    assert agreed([drew(RIGHT), twice, drew(RIGHT)]).xyxy.tolist() == [[60, 60, 80, 80]]


def test_an_image_on_which_nobody_agrees_is_no_background() -> None:
    three = agreed([drew(LEFT), drew(RIGHT), drew((80, 10, 15, 15))])
    assert three.problem == DISAGREED
    assert agreed([drew(), drew(), drew(LEFT)]).problem is None  # most submitted it empty


def test_what_is_not_understood_has_no_vote() -> None:
    odd = read([region(LEFT, "Gone")], LabelConfig.parse(CONFIG), SIZE)
    assert len(agreed([odd, drew(LEFT)]).class_ids) == 1
    assert "Gone" in str(agreed([odd, odd]).problem)


def test_which_annotations_count() -> None:
    def made(who: Any, when: str, **more: Any) -> dict[str, Any]:
        return {"completed_by": who, "updated_at": when, **more}

    old, new, other = made(1, "2026-01-01"), made(1, "2026-01-03"), made({"id": 2}, "2026-01-02")
    several = Task(1, {}, (old, other, new, made(3, "2026-01-04", was_cancelled=True)))
    assert counting_of(several) == ([new], True)
    assert counting_of(several, "majority") == ([new, other], True)
    truth = made(2, "2025-01-01", ground_truth=True)
    assert counting_of(Task(1, {}, (old, truth)), "majority") == ([truth], False)
    assert counting_of(Task(1, {}, (old, new)), "majority") == ([new], False)
    assert counting_of(Task(1, {}, ({"result": []}, {"result": []}))) == ([{"result": []}], True)
    assert counting_of(Task(1, {}, (7, None)), "majority") == ([], False)  # type: ignore[arg-type]

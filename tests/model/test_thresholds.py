"""From which score on boxes are shown: planted classes, and a detector's on blood cells that it did not learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import Dataset, LabeledImage
from model.data.detections import Detections
from model.data.directories import open_directory
from model.thresholds import (
    RELABELED,
    RIGHT,
    USUAL,
    WRONG,
    Costs,
    Thresholds,
    corrections,
    fates_of,
    learn_thresholds,
    shown,
)
from tests.shared import SHARED, needs_shared

SIZE = (1000, 1000)
NAMES = ("sure", "unsure")


def found(corners: list[list[float]], scores: list[float], classes: list[int]) -> Detections:
    boxes = np.array(corners, np.float32).reshape(-1, 4)
    class_scores = np.zeros((len(scores), len(NAMES)), np.float32)
    return Detections(boxes, np.array(scores, np.float32), np.array(classes, np.int64), class_scores, SIZE)


def image(number: int, corners: list[list[float]], classes: list[int], crowd: list[bool] | None = None) -> LabeledImage:
    boxes = np.array(corners, np.float32).reshape(-1, 4)
    marks = None if crowd is None else np.array(crowd)
    return LabeledImage(number, Path("a.png"), SIZE, boxes, np.array(classes, np.int64), marks)  # type: ignore[arg-type]


def planted(
    rng: np.random.Generator, images: int, boxes: int, right: dict[int, float]
) -> tuple[Dataset, list[Detections]]:
    """Boxes of even scores; of class k one is right with probability score ** right[k]."""
    pictures, detections = [], []
    for number in range(images):
        places = [[50.0 * k, 0, 50.0 * k + 40, 40] for k in range(boxes)]
        classes = rng.choice(list(right), boxes).tolist()
        scores = np.sort(rng.random(boxes))[::-1].tolist()
        there = [rng.random() < score ** right[k] for score, k in zip(scores, classes, strict=True)]
        objects = [k for k, is_there in enumerate(there) if is_there]
        pictures.append(image(number, [places[k] for k in objects], [classes[k] for k in objects]))
        detections.append(found(places, scores, classes))
    return Dataset(tuple(pictures), NAMES), detections


def test_each_class_is_shown_from_where_a_box_is_right_as_often_as_its_drawing_is_worth() -> None:
    """Right with probability score ** r, so .3 = delete / (delete + draw) lies at .3 ** (1 / r)."""
    data, boxes = planted(np.random.default_rng(0), 600, 15, {0: 0.5, 1: 2.0})
    learned = learn_thresholds(data, boxes)
    assert learned["sure"] == pytest.approx(0.3**2, abs=0.06)
    assert learned["unsure"] == pytest.approx(0.3**0.5, abs=0.06)
    few = learn_thresholds(Dataset(data.images[:20], NAMES), boxes[:20])  # speak for less of the way from .25
    assert learned["sure"] <= few["sure"] <= USUAL
    assert USUAL <= few["unsure"] <= learned["unsure"]
    dear = learn_thresholds(data, boxes, Costs(delete=7.0, draw=3.0))
    assert dear["sure"] == pytest.approx(0.7**2, abs=0.08)
    assert dear["unsure"] == pytest.approx(0.7**0.5, abs=0.06)


def test_what_was_learned_costs_less_on_other_images() -> None:
    data, boxes = planted(np.random.default_rng(1), 60, 15, {0: 0.5, 1: 3.0})
    others, theirs = planted(np.random.default_rng(2), 400, 15, {0: 0.5, 1: 3.0})
    learned = learn_thresholds(data, boxes)

    def seconds(least: list[float]) -> float:
        return corrections(others, [shown(one, np.array(least)) for one in theirs]).seconds

    assert seconds(list(learned.values())) < 0.95 * seconds([USUAL, USUAL])


def test_a_class_of_few_objects_follows_the_average_class() -> None:
    """Two boxes alone would say .95; the others say about .3."""
    data, boxes = planted(np.random.default_rng(3), 300, 15, {0: 1.0})
    rare = image(900, [[900, 900, 940, 940]], [1]), found([[0, 900, 40, 940], [500, 900, 540, 940]], [0.6, 0.5], [1, 1])
    both = Dataset((*data.images, rare[0]), NAMES)
    alone = learn_thresholds(both, [*boxes, rare[1]], borrowed=0.0, caution=0.0)
    learned = learn_thresholds(both, [*boxes, rare[1]])
    assert alone["unsure"] > 0.59
    assert learned["unsure"] == pytest.approx(learned["sure"], abs=0.1)


def test_nothing_found_leaves_thresholds_that_are_numbers() -> None:
    data = Dataset((image(1, [[0, 0, 9, 9]], [0]),), NAMES)
    learned = learn_thresholds(data, [found([], [], [])])
    assert all(0 < value < 1 for value in learned.values())
    assert all(0 < value < 1 for value in learn_thresholds(Dataset((), NAMES), []).values())


def test_the_surest_box_has_its_object_and_one_of_its_label_first() -> None:
    truth = image(1, [[0, 0, 100, 100], [10, 0, 110, 100], [500, 0, 600, 100]], [1, 0, 0], [False, False, True])
    boxes = found(
        [[2, 0, 102, 100], [1, 0, 101, 100], [3, 0, 103, 100], [500, 0, 600, 100]], [0.9, 0.8, 0.7, 0.6], [0, 0, 1, 0]
    )
    assert fates_of(truth, boxes).tolist() == [RIGHT, RELABELED, WRONG, WRONG]
    told = corrections(Dataset((truth,), NAMES), [boxes])
    assert (told.right, told.relabeled, told.deleted, told.drawn, told.seconds) == (1, 1, 2, 0, 9.0)
    assert told.count == 3


def test_one_box_a_place_whatever_its_class_and_none_of_a_class_without_a_label() -> None:
    boxes = found([[0, 0, 100, 100], [0, 0, 100, 90], [0, 0, 100, 40]], [0.5, 0.6, 0.4], [0, 1, 0])
    assert shown(boxes, np.array([0.3, 0.3])).scores.tolist() == pytest.approx([0.6, 0.4])
    assert shown(boxes, np.array([0.3, 0.3]), alone=False).scores.tolist() == pytest.approx([0.5, 0.6, 0.4])
    assert shown(boxes, np.array([0.3, np.inf])).scores.tolist() == pytest.approx([0.5, 0.4])  # it displaces nobody
    assert len(shown(boxes, np.array([0.3, 0.7]))) == 1  # which is the surest does not depend on thresholds
    assert len(shown(boxes, np.array([np.inf, np.inf]))) == 0
    assert len(shown(boxes.above(1.0), np.array([0.3, 0.3]))) == 0


def test_thresholds_as_a_text_are_a_number_where_there_is_no_more_to_say() -> None:
    """The text is part of the name of what earlier releases keep."""
    assert str(Thresholds(0.25)) == "0.25"
    learned = Thresholds(0.25, {"b": 0.5, "a": 0.1}, alone=True)
    assert str(learned) == "0.25 [('a', 0.1), ('b', 0.5)] one a place"
    assert (learned.of("b"), learned.of("c")) == (0.5, 0.25)


@needs_shared
def test_blood_cells_that_the_detector_did_not_learn_from_cost_annotators_less() -> None:
    """Detections of 60 updates from the starter weights at 96 pixels: of the holdout, and of 60 evaluation images."""
    data = open_directory(SHARED / "data" / "bccd")
    kept = np.load(Path(__file__).parent / "bccd_detections.npz")

    def part(ids: np.ndarray) -> tuple[Dataset, list[Detections]]:
        chosen = data.subset(ids.tolist())
        rows = [np.flatnonzero(kept["images"] == one.id) for one in chosen.images]
        return chosen, [
            Detections(
                kept["boxes"][of].astype(np.float32),
                kept["scores"][of].astype(np.float32),
                kept["classes"][of].astype(np.int64),
                np.zeros((len(of), len(data.names)), np.float32),
                one.size,
            )
            for of, one in zip(rows, chosen.images, strict=True)
        ]

    evaluation, boxes = part(kept["evaluation"])

    def seconds(least: dict[str, float], costs: Costs, *, alone: bool = True) -> float:
        lowest = np.array([least[name] for name in data.names])
        return corrections(evaluation, [shown(one, lowest, alone=alone) for one in boxes], costs).seconds

    usual = dict.fromkeys(data.names, USUAL)
    for costs, enough in ((Costs(), 0.97), (Costs(draw=35.0), 0.92)):
        learned = learn_thresholds(*part(kept["held_out"]), costs)
        assert seconds(learned, costs) < enough * seconds(usual, costs, alone=False)
    assert seconds(usual, Costs()) < 0.97 * seconds(usual, Costs(), alone=False)  # by one box a place alone
    assert seconds(learned, costs) < 0.92 * seconds(usual, costs)  # by thresholds alone, where drawing takes 35 s

"""What people draw: read where it is understood, else told, and never background."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from label_studio_sdk.converter.brush import mask2rle

from backend.label_studio.labels import LabelConfig, read
from backend.label_studio.prompts import places

CONFIG = LabelConfig.parse(
    '<View><Image name="img" value="$picture"/><RectangleLabels name="box" toName="img">'
    '<Label value="Car"/><Label value="Omnibus" alias="Bus"/><Label value="Tram" predicted_values="Streetcar"/>'
    '</RectangleLabels><PolygonLabels name="area" toName="img"><Label value="Car"/><Label value="Road"/>'
    '</PolygonLabels><Choices name="c" toName="img"><Choice value="a"/></Choices></View>'
)
CONFIG_WITH_POINTS = LabelConfig.parse(
    '<View><Image name="img" value="$picture"/><RectangleLabels name="box" toName="img"><Label value="Car"/>'
    '<Label value="Bus"/></RectangleLabels><KeyPointLabels name="point" toName="img"><Label value="Car"/>'
    '<Label value="Bus"/><Label value="Nose"/></KeyPointLabels></View>'
)
SIZE = (200, 100)
RECTANGLE: dict[str, Any] = {"x": 5, "y": 20, "width": 25, "height": 50}
TRIANGLE = [[10, 10], [30, 10], [20, 60]]


def region(kind: str = "rectanglelabels", label: str | None = "Car", **value: Any) -> dict[str, Any]:
    labels = {kind: [label]} if label else {}
    return {"id": "a", "from_name": "box", "to_name": "img", "type": kind, "value": value | labels}


def brush() -> dict[str, Any]:
    mask = np.zeros((50, 100), np.uint8)
    mask[10:30, 20:60] = 255
    made = region("brushlabels", rle=mask2rle(mask), format="rle")
    return made | {"original_width": 100, "original_height": 50}


@pytest.mark.parametrize(
    ("result", "box", "label"),
    [
        ([region(**RECTANGLE)], [10, 20, 60, 70], "Car"),
        ([region(label="Omnibus", **RECTANGLE)], [10, 20, 60, 70], "Bus"),  # the value where the alias is due
        ([region(label="Streetcar", **RECTANGLE)], [10, 20, 60, 70], "Tram"),  # renamed, and mapped
        ([region("polygonlabels", points=TRIANGLE) | {"from_name": "area"}], [20, 10, 60, 60], "Car"),
        ([region("ellipselabels", x=50, y=50, radiusX=10, radiusY=30)], [80, 20, 120, 80], "Car"),
        ([brush()], [40, 20, 120, 60], "Car"),
        (
            [region("rectangle", None, **RECTANGLE), region("labels", labels=["Car"], label=None)],
            [10, 20, 60, 70],
            "Car",
        ),
    ],
)
def test_the_box_of_any_shape_whose_label_is_ours(result: list[dict], box: list[float], label: str) -> None:
    reading = read(result, CONFIG, SIZE)
    assert reading.problem is None
    np.testing.assert_allclose(reading.xyxy, [box], atol=1)
    assert [CONFIG.labels[k] for k in reading.class_ids] == [label]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (region() | {"value": None}, "without a value"),
        (region(**RECTANGLE) | {"value": {"rectanglelabels": ["Car"], "y": 1, "width": 2, "height": 2}}, "without x"),
        (region(x=1, y=1, height=5), "without width"),
        (region(**RECTANGLE | {"width": "25"}), "width is no number"),
        (region(**RECTANGLE | {"x": math.nan}), "x is no number"),
        (region(**RECTANGLE | {"x": 1e308, "width": 1e308}), "no percent"),
        (region(label=None, **RECTANGLE), "without a label"),
        (region(label="Gone", **RECTANGLE), "'Gone', which the config does not have"),
        (region(x=350, y=200, width=80, height=60), "no percent"),
        (region(x=60, y=20, width=120, height=40), "no percent"),
        (region(**RECTANGLE | {"width": 0.01}), "smaller than a pixel"),
        (region("keypointlabels", x=5, y=5), "a point"),
        (region("polygonlabels", points=[[1, 2]]), "points is no number"),
        (region("brushlabels", rle=[1, 2, 3, 4, 5, 6]) | {"original_width": 9, "original_height": 9}, "a brush"),
        (region("vectorlabels", vertices=[]), "a vector"),
        (region("hologram", **RECTANGLE), "'hologram'"),
        (region(**RECTANGLE) | {"to_name": "gone"}, "an image that the config does not have"),
        (region(**RECTANGLE) | {"to_name": ["img"]}, "an image that the config does not have"),
        (7, "no object"),
    ],
)
def test_a_region_that_is_not_understood_is_told_and_leaves_its_image_out(wrong: Any, said: str) -> None:
    reading = read([region(**RECTANGLE), wrong, region(label="Bus", **RECTANGLE)], CONFIG, SIZE)
    assert len(reading.class_ids) == 2  # one odd item ends nothing
    assert said in str(reading.problem)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ([region("labels", **RECTANGLE, labels=["Car"])], "labels of a region that is not there"),
        ([region("choices", None, **RECTANGLE, choices=["a"])], "choices of a region that is not there"),
        ([region("textarea", None, points=TRIANGLE, text=["a"])], "textarea of a region that is not there"),
        ([region(**RECTANGLE) | {"item_index": "0"}], "item_index is no number"),
        ([region(**RECTANGLE) | {"item_index": -1}], "item_index is no number"),
        ([region(**RECTANGLE) | {"item_index": [1]}], "item_index is no number"),
        ([region(label=None, rectanglelabels=["Car", "Gone"], **RECTANGLE)], "'Gone', which the config does not have"),
    ],
)
def test_what_was_drawn_and_cannot_be_placed_is_no_background(result: list[dict], said: str) -> None:
    assert said in str(read(result, CONFIG, SIZE).problem)


def test_what_is_said_of_a_region_draws_no_second_one() -> None:
    beside = [region("choices", None, **RECTANGLE, choices=["a"]), region("textarea", None, **RECTANGLE, text=["a"])]
    elsewhere = region("labels", None, start=1, end=2, labels=["Word"])
    reading = read([region(**RECTANGLE), *beside, elsewhere], CONFIG, SIZE)
    assert (reading.problem, len(reading.class_ids)) == (None, 1)


def test_a_region_of_several_labels_is_an_object_of_each() -> None:
    """As `choice="multiple"` allows: without its second label the object would be background for that class."""
    both = region(label=None, rectanglelabels=["Car", "Omnibus", "Road"], **RECTANGLE)
    reading = read([both], CONFIG, SIZE)
    assert reading.problem is None
    assert [CONFIG.labels[k] for k in reading.class_ids] == ["Car", "Bus"]
    assert reading.xyxy.tolist() == [[10, 20, 60, 70]] * 2
    (place,) = places([both], CONFIG, SIZE)
    for label, meant in (("Car", True), ("Bus", True), ("Tram", False)):
        assert place.asks_for(RECTANGLE | {"rectanglelabels": [label]}) is meant


@pytest.mark.parametrize(
    ("label", "x", "said"),
    [("Car", 10, None), ("Car", 90, "a point"), ("Bus", 10, "a point"), ("Nose", 90, None)],
    ids=["in its box", "outside", "in a box of another label", "of another control"],
)
def test_a_point_in_a_box_of_its_label_is_the_same_object(label: str, x: float, said: str | None) -> None:
    points = CONFIG_WITH_POINTS
    point = region("keypointlabels", label, x=x, y=50, width=1) | {"from_name": "point", "id": "b"}
    for result in ([point, region(**RECTANGLE)], [region(**RECTANGLE), point]):
        reading = read(result, points, SIZE)
        assert len(reading.class_ids) == 1
        assert (said is None and reading.problem is None) or str(said) in str(reading.problem)


def test_background_is_only_what_somebody_submitted_empty() -> None:
    assert read([], CONFIG, SIZE).problem is None
    choice = {"from_name": "c", "to_name": "img", "type": "choices", "value": {"choices": ["a"]}}
    assert read([choice, {"type": "relation", "from_id": "a", "to_id": "b"}], CONFIG, SIZE).problem is None
    road = region("polygonlabels", "Road", points=TRIANGLE) | {"from_name": "area"}
    assert "Road" in str(read([road], CONFIG, SIZE).problem)
    assert read([road, region(**RECTANGLE)], CONFIG, SIZE).problem is None
    assert "no list" in str(read(None, CONFIG, SIZE).problem)


@pytest.mark.parametrize(
    ("drawn", "inside", "outside"),
    [
        (region("keypointlabels", x=20, y=40), (10, 30, 20, 20), (50, 30, 20, 20)),
        (brush(), (30, 30, 20, 20), (70, 70, 20, 20)),
        (region("polygonlabels", points=TRIANGLE), (15, 15, 10, 10), (10, 50, 4, 4)),
        (region("ellipselabels", x=50, y=50, radiusX=10, radiusY=30), (45, 45, 10, 10), (40, 20, 2, 2)),
        (region(x=50, y=10, width=10, height=20, rotation=90), (43, 15, 4, 8), (52, 15, 4, 8)),
    ],
)
def test_a_prompt_asks_for_the_place_drawn_and_its_label(drawn: dict, inside: tuple, outside: tuple) -> None:
    (place,) = places([{"value": None}, drawn], CONFIG, SIZE)

    def value(where: tuple, label: str = "Car") -> dict[str, Any]:
        return dict(zip(("x", "y", "width", "height"), where, strict=True)) | {"rectanglelabels": [label]}

    assert place.asks_for(value(inside))
    assert not place.asks_for(value(outside))
    assert not place.asks_for(value(inside, "Bus"))


def test_the_same_box_twice_is_one_object() -> None:
    """A second one could never be found: a perfect detector would not be perfect."""
    twice = read(
        [region(**RECTANGLE), region(**RECTANGLE) | {"id": "b"}, region(label="Bus", **RECTANGLE)], CONFIG, SIZE
    )
    assert twice.class_ids.tolist() == [0, 1]
    assert twice.xyxy.tolist() == [[10, 20, 60, 70]] * 2

import numpy as np
import pytest
from label_studio_sdk.label_interface import LabelInterface

from backend.label_studio.labels import LabelConfig, LabelConfigError, boxes, regions
from model.data.detections import Detections
from model.thresholds import Thresholds

CONFIG = (
    '<View><Image name="img" value="$picture"/><RectangleLabels name="box" toName="img" {extra}>'
    '<Label value="Car" predicted_values="automobile, Truck"/><Label value="Bus"/></RectangleLabels></View>'
)


def config(extra: str = "") -> LabelConfig:
    return LabelConfig.parse(CONFIG.format(extra=extra))


def test_names_of_the_tags_are_read_from_the_config() -> None:
    parsed = config('model_score_threshold="0.4" model_path="mine.pt"')
    assert (parsed.from_name, parsed.to_name, parsed.data_key) == ("box", "img", "picture")
    assert parsed.labels == ("Car", "Bus")
    assert parsed.threshold == 0.4
    assert parsed.model_path == "mine.pt"
    assert config('score_threshold="0.1"').threshold == 0.1


def test_labels_match_by_predicted_values_then_by_name_ignoring_case() -> None:
    assert config().label_map(("truck", "BUS", "tram", "car")) == {"truck": "Car", "BUS": "Bus", "car": "Car"}


def test_an_empty_label_map_names_both_sets() -> None:
    assert config().label_map(("cat", "dog")) == {}
    message = config().no_match(("cat", "dog"))
    for word in ("cat", "dog", "Car", "Bus", "predicted_values"):
        assert word in message


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("", "cannot be parsed"),
        ("<View", "cannot be parsed"),
        (
            '<View><Text name="t" value="$t"/><Choices name="c" toName="t"><Choice value="a"/></Choices></View>',
            "Choices",
        ),
        (CONFIG.format(extra='model_skip="true"'), "RectangleLabels"),
    ],
)
def test_a_config_that_cannot_be_served_says_why(xml: str, said: str) -> None:
    with pytest.raises(LabelConfigError, match=said):
        LabelConfig.parse(xml)


def found() -> Detections:
    return Detections(
        np.array([[10, 20, 60, 70], [0, 0, 200, 100], [5, 5, 9, 9]], np.float32),
        np.array([0.9, 0.5, 0.2], np.float32),
        np.array([0, 1, 0]),
        np.array([[0.9, 0], [0, 0.5], [0.2, 0]], np.float32),
        (200, 100),
    )


def test_regions_are_percent_of_the_image_and_pass_label_studios_own_check() -> None:
    made = regions(found(), ("truck", "bus"), config(), {"truck": "Car", "bus": "Bus"}, Thresholds(0.25))
    assert [r["value"]["rectanglelabels"] for r in made] == [["Car"], ["Bus"]]
    assert {k: made[0]["value"][k] for k in ("x", "y", "width", "height")} == {
        "x": 5,
        "y": 20,
        "width": 25,
        "height": 50,
    }
    assert made[0]["score"] == pytest.approx(0.9)
    checked = LabelInterface(CONFIG.format(extra="")).validate_prediction(
        {"result": made, "score": 0.5, "model_version": "v"}, return_errors=True
    )
    assert not checked


def test_boxes_undo_regions() -> None:
    made = regions(found(), ("truck", "bus"), config(), {"truck": "Car", "bus": "Bus"}, Thresholds(0.0))
    xyxy, classes = boxes(made, config(), (200, 100))
    np.testing.assert_allclose(xyxy, found().xyxy, atol=1e-4)
    assert classes.tolist() == [0, 1, 0]


def test_a_rotated_rectangle_becomes_the_upright_box_around_it() -> None:
    region = {
        "from_name": "box",
        "value": {"x": 50, "y": 10, "width": 10, "height": 20, "rotation": 90, "rectanglelabels": ["Bus"]},
    }
    xyxy, _ = boxes([region], config(), (200, 100))  # 20 x 20 pixels, turned about its corner (100, 10)
    np.testing.assert_allclose(xyxy, [[80, 10, 100, 30]], atol=1e-4)


def test_regions_of_other_tags_unknown_labels_and_slivers_are_left_out() -> None:
    value = {"x": 0, "y": 0, "width": 50, "height": 50, "rectanglelabels": ["Car"]}
    result = [
        {"from_name": "other", "value": value},
        {"from_name": "box", "value": value | {"rectanglelabels": ["Gone"]}},
        {"from_name": "box", "value": value | {"width": 0.01}},
        {"from_name": "box", "value": {"choices": ["x"]}},
    ]
    xyxy, classes = boxes(result, config(), (200, 100))
    assert xyxy.shape == (0, 4)
    assert classes.shape == (0,)

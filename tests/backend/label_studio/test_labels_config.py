"""Label configs: what is served, what is said, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from backend.label_studio.labels import LabelConfig, LabelConfigError, read, regions
from model.data.detections import Detections
from model.thresholds import Thresholds

IMAGE = '<Image name="img" value="$picture"/>'
CAR = '<Label value="Car"/>'


def config(controls: str, image: str = IMAGE) -> LabelConfig:
    return LabelConfig.parse(f"<View>{image}{controls}</View>")


def control(labels: str = CAR, extra: str = "", name: str = "box", to: str = "img") -> str:
    return f'<RectangleLabels name="{name}" toName="{to}" {extra}>{labels}</RectangleLabels>'


def detections(*scores: float) -> Detections:
    n = len(scores)
    corners = np.array([[10 * k, 10, 10 * k + 9, 30] for k in range(n)], np.float32)
    values = np.array(scores, np.float32)
    return Detections(corners, values, np.arange(n), np.diag(values), (100, 100))


def test_every_rectangle_control_of_the_image_is_served_under_its_own_name_and_threshold() -> None:
    two = config(control() + control('<Label value="Bus"/>', 'model_score_threshold="0.6"', "second"))
    names = ("Car", "Bus")
    assert two.labels == names
    made = regions(detections(0.5, 0.7), names, two, two.label_map(names), Thresholds(0.25))
    assert [one["from_name"] for one in made] == ["box", "second"]
    assert len(regions(detections(0.5, 0.5), names, two, two.label_map(names), Thresholds(0.25))) == 1
    assert read(made, two, (100, 100)).class_ids.tolist() == [0, 1]


def test_region_ids_are_never_used_twice() -> None:
    one = config(control())
    ids = {regions(detections(0.5), ("Car",), one, {"Car": "Car"}, Thresholds(0.1))[0]["id"] for _ in range(50)}
    assert len(ids) == 50


def test_only_the_first_of_several_images_is_served_and_that_is_said() -> None:
    both = config(control(to="img,other"), IMAGE + '<Image name="other" value="$b"/>')
    assert "'other'" in both.remarks[0]
    value = {"x": 1, "y": 1, "width": 50, "height": 50, "rectanglelabels": ["Car"]}
    region = {"from_name": "box", "type": "rectanglelabels", "value": value}
    result = [region | {"to_name": "other"}, region | {"to_name": "img"}, region | {"to_name": "img", "item_index": 1}]
    reading = read(result, both, (100, 100))
    assert (len(reading.class_ids), reading.problem) == (1, None)


@pytest.mark.parametrize(("index", "name"), [("idx", "page_0"), ("i", "page_17")])
def test_what_a_repeater_makes_beside_the_image_is_not_served_either(index: str, name: str) -> None:
    flag = f"{{{{{index}}}}}"
    page = f'<Image name="page_{flag}" value="$pages[{flag}].url"/>' + control(name=f"box_{flag}", to=f"page_{flag}")
    beside = config(control() + f'<Repeater on="$pages" indexFlag="{flag}">{page}</Repeater>')
    value = {"x": 1, "y": 1, "width": 50, "height": 50, "rectanglelabels": ["Car"]}
    region = {"from_name": "box", "to_name": "img", "type": "rectanglelabels", "value": value}
    reading = read([region, region | {"from_name": "box_0", "to_name": name}], beside, (100, 100))
    assert (len(reading.class_ids), reading.problem) == (1, None)
    assert read([region | {"to_name": "page_x"}], beside, (100, 100)).problem is not None


@pytest.mark.parametrize(
    ("controls", "image", "said"),
    [
        (control(), '<Image name="img" valueList="$pages"/>', "valueList"),
        (control(), '<Image name="img" value="$photo.url"/>', "photo.url"),
        (control(), '<Image name="img" value="$image?x=1"/>', "x=1"),
        (control(), '<Repeater on="$p"><Image name="img" value="$p[{{idx}}].url"/></Repeater>', "Repeater"),
        (control("", 'value="$options"'), IMAGE, "takes its labels from each task"),
        (control(""), IMAGE, "has no <Label>"),
        (control('<Label value=""/>'), IMAGE, 'value=""'),
        (control(extra='model_score_threshold="0,4"'), IMAGE, "'0,4'"),
        (control(extra='score_threshold="abc"'), IMAGE, "'abc'"),
        (control(extra='model_score_threshold="40"'), IMAGE, "'40'"),
        (control(extra='model_score_threshold="nan"'), IMAGE, "'nan'"),
        ("\0", IMAGE, "cannot be parsed: Invalid character"),
        (control('<Label value="$kind"/>' + CAR), IMAGE, r"takes the label '\$kind' from each task"),
        (control('<Label value="US$size"/>'), IMAGE, r"takes the label 'US\$size' from each task"),
        (control(extra='model_skip="true"'), IMAGE, "'box' says model_skip"),
        (control(to="imgg"), IMAGE, "'box' has toName='imgg', which no Image is named"),
        (control(), '<Video name="img" value="$v"/>', "'box' has toName='img', which is a Video"),
        (control(), '<Image value="$picture"/>', "'box' has toName='img', which no Image is named"),
        (control(), '<Image name="img"/>', "which no Image is named"),
        (
            control(extra='model_path="a.pt"') + control("<Label value='B'/>", 'model_path="b.pt"', "c"),
            IMAGE,
            r"a\.pt, b",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_one_line(controls: str, image: str, said: str) -> None:
    with pytest.raises(LabelConfigError, match=said) as raised:
        config(controls, image)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("labels", ['<Label value="$5" alias="Five"/>', '<Label value="$"/>', '<Label value="5 $"/>'])
def test_a_dollar_that_names_no_field_is_text(labels: str) -> None:
    assert len(config(control(labels)).labels) == 1


@pytest.mark.parametrize(
    "before", ['<?xml version="1.0" encoding="UTF-8"?>\n', "\n <?xml version='1.0'?>", "\ufeff", "<!-- by hand -->\n"]
)
def test_what_may_stand_before_the_view(before: str) -> None:
    assert LabelConfig.parse(f"{before}<View>{IMAGE}{control()}</View>").labels == ("Car",)


def test_what_is_not_served_is_said() -> None:
    assert "model_obb" in config(control(extra='model_obb="true"')).remarks[0]
    pose = '<Label value="Nose" model_index="0" background="red"/>'
    unknown = config(control(pose, 'model_conf="0.3" model_iou="0.7" opacity="0.1" smart="true"')).remarks[0]
    assert unknown.startswith("model_conf, model_index, model_iou of RectangleLabels 'box' is not known here")
    double = config(control('<Label value="A" predicted_values="x"/><Label value="B" predicted_values="x"/>'))
    assert "'A' and at 'B'" in double.remarks[0]


def test_case_counts_where_labels_differ_by_nothing_else() -> None:
    fruit = config(control('<Label value="Kiwi"/><Label value="kiwi"/><Label value="Plum"/>'))
    assert fruit.label_map(("Kiwi", "kiwi", "KIWI", "plum")) == {"Kiwi": "Kiwi", "kiwi": "kiwi", "plum": "Plum"}


def test_a_model_trained_on_the_project_maps_by_identity() -> None:
    vans = config(control('<Label value="Van" predicted_values="truck"/><Label value="Truck"/>'))
    assert vans.label_map(("truck", "Truck")) == {"truck": "Van", "Truck": "Truck"}
    assert vans.label_map(("Van", "Truck"), trained=True) == {"Van": "Van", "Truck": "Truck"}
    lower = config(control('<Label value="Van" predicted_values="Truck"/><Label value="Truck"/>'))
    assert lower.label_map(("Truck",), trained=True) == {"Truck": "Truck"}

"""Any JSON in the place of what Label Studio holds: one odd item is left out and named, and ends nothing."""

from __future__ import annotations

import math
from contextlib import suppress
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.label_studio.addresses import AddressError, Addresses, data_of, is_data, shortened
from backend.label_studio.agreement import agreed
from backend.label_studio.labels import LabelConfig, LabelConfigError, Reading, read
from backend.label_studio.prompts import places
from tests.backend.any_json import ANY, spoilt
from tests.backend.label_studio.test_labels_regions import CONFIG, RECTANGLE, SIZE, TRIANGLE, brush, region

RIGHT = [
    region(**RECTANGLE),
    region(**RECTANGLE, rotation=30),
    region("polygonlabels", points=TRIANGLE),
    region("ellipselabels", x=50, y=50, radiusX=10, radiusY=30),
    region("keypointlabels", x=5, y=5),
    brush(),
]
RESULTS = st.lists(st.sampled_from(RIGHT).flatmap(spoilt) | ANY, max_size=4) | ANY


def usable(reading: Reading) -> bool:
    """Whether each box lies in the image, has an area, and a class."""
    low, high = reading.xyxy[:, :2], reading.xyxy[:, 2:]
    inside = (low >= 0).all() and (high <= np.array(SIZE)).all() and (high > low).all()
    return bool(inside and np.isfinite(reading.xyxy).all() and set(reading.class_ids) <= set(range(3)))


@settings(max_examples=200, deadline=None)
@given(RESULTS, RESULTS)
def test_regions(result: object, other: object) -> None:
    readings = [read(one, CONFIG, SIZE) for one in (result, other)]
    assert all(map(usable, readings))
    assert usable(agreed(readings))
    drew = isinstance(result, list) and any(isinstance(one, dict) and "value" in one for one in result)
    if not isinstance(result, list):
        assert readings[0].problem is not None
    elif not drew and readings[0].problem is None:
        assert len(readings[0].class_ids) == 0


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(RIGHT).flatmap(spoilt) | ANY, max_size=4))
def test_prompts(drawing: list) -> None:
    box = region(**RECTANGLE)["value"]
    for place in places(drawing, CONFIG, SIZE):
        assert np.isfinite(place.points).all()
        assert place.asks_for(box) in (True, False)


@settings(max_examples=200, deadline=None)
@given(
    st.text()
    | st.sampled_from(["s3:", "//", "http://", "data:", "/data/upload/", "HTTP://[", "http://a:b@"]).flatmap(
        lambda start: st.text(max_size=20).map(lambda rest: start + rest)
    )
)
def test_addresses(reference: str) -> None:
    assert len(shortened(reference)) <= max(210, len(reference))
    with suppress(AddressError):
        if is_data(reference):
            data_of(reference)
        else:
            Addresses("http://studio/ls", ("https://outside",)).of(reference, 1)


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=12)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["name", "toName", "value", "valueList", "alias", "predicted_values", "model_score_threshold"])
    | st.sampled_from(["score_threshold", "model_path", "model_skip", "model_obb", "whenTagName", "perRegion"]),
    TEXT | st.sampled_from(["$image", "image", "label", "a,b", "", "true", "0.4", "$a.b", "Car"]),
    max_size=5,
)


@st.composite
def configs(draw: st.DrawFn) -> str:
    """Tags that a label config may have, with attributes of every kind."""

    def tag(name: str, inside: str = "") -> str:
        attributes = " ".join(f"{key}={quoteattr(value)}" for key, value in draw(ATTRIBUTES).items())
        return f"<{name} {attributes}>{inside}</{name}>"

    controls = ["RectangleLabels", "PolygonLabels", "Choices", "Labels", "Relations", "TextArea", "View", "Unknown"]
    inside = "".join(tag(draw(st.sampled_from(["Label", "Choice", "View"]))) for _ in range(draw(st.integers(0, 2))))
    image = draw(st.sampled_from(['<Image name="image" value="$image"/>', tag("Image"), tag("Text"), ""]))
    right = '<RectangleLabels name="label" toName="image"><Label value="Car"/></RectangleLabels>'
    return f"<View>{image}{draw(st.sampled_from([right, '']))}{tag(draw(st.sampled_from(controls)), inside)}</View>"


@settings(max_examples=200, deadline=None)
@given(configs() | TEXT)
def test_label_configs(xml: str) -> None:
    try:
        config = LabelConfig.parse(xml)
    except LabelConfigError:
        return
    label_map = config.label_map(("car", "Car"))
    assert config.boxes_by(label_map)
    assert all(0 <= config.shown_from(label, 0.25) <= 1 for label in config.labels)
    assert config.data_key
    assert all(label.strip() for label in config.labels)
    assert all(math.isfinite(control.threshold or 0) for control in config.controls)


@pytest.mark.parametrize("config", [None, 7, {}, [], b"<View/>"])
def test_a_config_that_is_no_text(config: object) -> None:
    with pytest.raises(LabelConfigError):
        LabelConfig.parse(config)  # type: ignore[arg-type]

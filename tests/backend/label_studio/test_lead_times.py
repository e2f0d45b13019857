"""How long annotations took, whatever stands where Label Studio notes it."""

from __future__ import annotations

from typing import Any

import pytest

from agent.costs import Effort
from backend.label_studio.client import Task
from backend.label_studio.labels import LabelConfig
from backend.label_studio.lead_times import efforts
from tests.backend.project.test_dataset import region
from tests.backend.web.requests import CONFIG

CHOICE = {"from_name": "light", "to_name": "image", "type": "choices", "value": {"choices": ["day"]}}


def read(*annotations: Any) -> list[Effort]:
    return efforts([Task(1, {}, annotations)], LabelConfig.parse(CONFIG))


def test_boxes_are_counted_by_where_they_came_from() -> None:
    """The editor notes it; scripts and imports do not, and what they give was drawn."""
    origins = ("manual", "prediction", "prediction-changed", None, "elsewhere")
    result = [region() | {"origin": origin} for origin in origins] + [region(), CHOICE]
    assert read({"lead_time": 12.5, "result": result, "completed_by": 3}) == [Effort(12.5, 4, 2, "3")]
    assert read({"lead_time": 2, "result": [], "completed_by": {"id": 3}}) == [Effort(2.0, 0, 0, "3")]


@pytest.mark.parametrize(
    "lead_time", [None, 0, 0.0, -3, "12.5", "", True, [], float("nan"), float("inf"), -float("inf"), 10**400]
)
def test_a_time_that_cannot_be_true_is_none(lead_time: Any) -> None:
    assert read({"lead_time": lead_time, "result": []}) == []


@pytest.mark.parametrize("annotation", [7, None, {}, {"result": []}, {"lead_time": 5.0, "was_cancelled": True}])
def test_what_is_no_submitted_annotation_is_passed_over(annotation: Any) -> None:
    assert read(annotation) == []


@pytest.mark.parametrize("result", [None, "text", [7, None, "x"], {"a": 1}])
def test_a_result_of_another_shape_holds_no_box(result: Any) -> None:
    assert read({"lead_time": 5.0, "result": result}) == [Effort(5.0, 0, 0, "")]


def test_every_annotator_counts_and_the_newest_come_last() -> None:
    def at(day: int, who: int) -> dict:
        return {
            "lead_time": float(day),
            "result": [region()],
            "created_at": f"2026-01-{day:02}T00:00:00Z",
            "completed_by": who,
        }

    found = efforts([Task(1, {}, (at(9, 1), at(2, 2))), Task(2, {}, (at(5, 1),))], LabelConfig.parse(CONFIG))
    assert found == [Effort(2.0, 1, 0, "2"), Effort(5.0, 1, 0, "1"), Effort(9.0, 1, 0, "1")]

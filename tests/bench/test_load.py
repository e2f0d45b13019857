"""What the load bench computes and asks. The bench itself needs a whole installation and ten minutes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backend.web.schemas import Event, Predict, Setup
from bench.load import BARS, finish, growth, missed, percentile
from bench.traffic import UNKNOWN, Request, Traffic

GOOD = {
    "requests": 10_000,
    "errors": 0,
    "webhook_p99_ms": 100.0,
    "health_p99_ms": 50.0,
    "predict_p99_ms": 900.0,
    "rss_growth_mb": -3.0,
    "order_10k_ratio": 1.5,
}


@pytest.fixture
def traffic() -> Traffic:
    config = '<View><Image name="image" value="$image"/></View>'
    project = {"id": 7, "label_config": config, "total_annotations_number": 40}
    return Traffic(project, [(k, f"/data/upload/7/{k}.jpg") for k in range(1, 11)], [{"type": "rectanglelabels"}])


@pytest.mark.parametrize(
    ("count", "percent", "expected"), [(1, 99, 1), (100, 99, 99), (101, 99, 100), (1000, 99, 990), (4, 50, 2)]
)
def test_a_percentile_is_one_of_the_values(count: int, percent: float, expected: float) -> None:
    assert percentile(list(range(count, 0, -1)), percent) == expected


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 99)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([0, 300, 400, 400, 400, 400, 400, 400, 400, 400], 0),  # it only warms up
        ([400.0 + k for k in range(10)], 6),
        ([400, 400, 400, 400, 900, 400, 400, 400, 400, 400, 400, 400, 400, 400, 400], 0),  # given back
    ],
)
def test_memory_that_grows_is_told_from_memory_that_warms_up(sizes: list[float], expected: float) -> None:
    assert growth(sizes) == expected


def test_few_sizes_tell_nothing() -> None:
    with pytest.raises(ValueError, match="4 sizes are too few"):
        growth([1, 2, 3, 4])


def test_what_is_within_the_bars_ends_with_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    for figures in (GOOD, GOOD | {"order_10k_ratio": None}):  # Postgres is missing
        assert finish(figures) == 0
        said = capsys.readouterr().out
        assert json.loads(said) == figures
        assert list(json.loads(said)) == list(GOOD)


@pytest.mark.parametrize("name", BARS)
def test_each_bar_that_is_missed_is_named_and_ends_with_status_1(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    figures: dict[str, Any] = GOOD | {name: BARS[name] + 0.1}
    assert missed(figures) == [f"{name} is {figures[name]}, more than {BARS[name]:g}"]
    assert finish(figures) == 1
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"missed: {name} is ")
    assert json.loads(last) == figures


def test_an_opened_task_asks_what_label_studio_asks(traffic: Traffic) -> None:
    health, setup, predict = traffic.opened(1)
    assert health == Request("health")
    assert Setup.model_validate(setup.body).project == 7
    asked = Predict.model_validate(predict.body)
    assert predict.known
    assert asked.project == 7
    assert [task.data["image"] for task in asked.tasks] == [f"/data/upload/7/{task.id}.jpg" for task in asked.tasks]


def test_unknown_tasks_come_as_often_as_said_and_each_has_an_image_of_its_own(traffic: Traffic) -> None:
    asked = [traffic.opened(number)[2] for number in range(50)]
    unknown = [task for one in asked if not one.known for task in Predict.model_validate(one.body).tasks]
    assert len(unknown) == 50 / UNKNOWN
    assert len({task.id for task in unknown} | set(range(1, 11))) == len(unknown) + 10
    assert len({task.data["image"] for task in unknown}) == len(unknown)


def test_events_are_understood_and_count_annotations_up(traffic: Traffic) -> None:
    bodies = [traffic.submitted(number).body or {} for number in range(300)]
    events = [Event.model_validate(body) for body in bodies]
    assert {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "START_TRAINING"} <= {event.action for event in events}
    assert [event.project.total_annotations_number for event in events] == list(range(40, 340))
    assert {body["annotation"]["was_cancelled"] for body in bodies if "annotation" in body} == {True, False}

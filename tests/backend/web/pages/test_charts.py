"""Where the marks of a plot lie, and what stands at its axes."""

from __future__ import annotations

import pytest

from backend.web.pages.charts import Line, Mark, Plot, tick, ticks


@pytest.mark.parametrize(
    "values",
    [[], [120.0], [0.4], [-3.0], [119.0, 121.0], [10.0, 12.0], [0.0, 0.00002], [35.2, 35.4], [0.31, 0.57], [0.0, 1e6]],
)
def test_ticks_hold_all_values_and_each_has_a_label_of_its_own(values: list[float]) -> None:
    found = ticks(values)
    assert found[0] < found[-1]
    assert all(found[0] <= value <= found[-1] for value in values)
    labels = [tick(value) for value in found]
    assert len(set(labels)) == len(labels)
    assert [float(label.replace(",", "")) for label in labels] == pytest.approx(found)
    assert max(map(len, labels)) < 10


def test_one_training_lies_at_the_end_of_an_axis_that_begins_at_none() -> None:
    plot = Plot("mAP", "labeled images", "mAP", [Line("mAP", [Mark(120.0, 0.4, 0.3, 0.5)])])
    assert [tick(x) for x in plot.xs] == ["0", "50", "100", "150"]
    assert plot.left(0) < plot.left(120.0) < plot.left(150)
    assert plot.top(0.5) < plot.top(0.4) < plot.top(0)

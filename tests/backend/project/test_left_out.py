"""What is left out of a training is counted, named, and kept."""

from __future__ import annotations

import json

from backend.project.left_out import LeftOut


def test_a_line_counts_by_reason_and_names_the_tasks() -> None:
    left_out = LeftOut(40)
    assert str(left_out) == ""
    for task in (4, 7):
        left_out.add(task, "a region without a label")
    left_out.add(9, "an image that cannot be read")
    line = "2 for a region without a label (tasks 4, 7); 1 for an image that cannot be read (task 9)"
    assert str(left_out) == f"3 of 40 annotated images are left out: {line}"
    assert left_out.remark == str(left_out)
    left_out.several, left_out.rule = 2, "majority"
    assert left_out.remark.startswith(
        "2 images have several annotations: merged, what most annotators drew counts; 3 of"
    )
    assert LeftOut.of_json({"labeled": 3, "tasks": {}}).remark == ""  # of an earlier release
    assert LeftOut.of_json(json.loads(json.dumps(left_out.to_json()))) == left_out

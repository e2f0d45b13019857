"""Numbers from files against the picture: the one place for all formats."""

from __future__ import annotations

import numpy as np
import pytest

from model.data.checked import CLIPPED, EMPTY, ORDERED, TWICE, check_boxes


@pytest.mark.parametrize(
    ("box", "want", "said"),
    [
        ([10, 20, 40, 60], [10, 20, 40, 60], None),
        ([40, 60, 10, 20], [10, 20, 40, 60], ORDERED),
        ([-5, 20, 40, 60], [0, 20, 40, 60], CLIPPED),
        ([-5, -9, 400, 600], [0, 0, 100, 80], CLIPPED),
        ([-0.4, 0, 100.6, 80], [0, 0, 100, 80], None),  # rounding, not worth a word
        ([10, 20, 10, 60], None, EMPTY),
        ([10, 20, 10, 20], None, EMPTY),
        ([110, 20, 140, 60], None, EMPTY),
        ([1e300, 20, 1e301, 60], None, EMPTY),
    ],
)
def test_boxes_are_put_in_order_cut_and_dropped(box: list[float], want: list[float] | None, said: str | None) -> None:
    checked = check_boxes(np.array([box]), (100, 80))
    assert checked.xyxy.tolist() == ([want] if want else [])
    assert checked.xyxy.dtype == np.float32
    assert dict(checked.counts) == ({said: 1} if said else {})
    assert checked.not_numbers == ()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_an_object_that_nobody_can_place(value: float) -> None:
    checked = check_boxes(np.array([[1, 2, 3, 4], [1, 2, value, 4]]), (100, 80))
    assert checked.kept.tolist() == [0]
    assert checked.not_numbers == (1,)


def test_only_boxes_of_one_kind_repeat_each_other() -> None:
    checked = check_boxes([[1, 2, 3, 4]] * 3, (100, 80), ["cat", "dog", "cat"])
    assert checked.kept.tolist() == [0, 1]
    assert dict(checked.counts) == {TWICE: 1}


def test_no_boxes() -> None:
    checked = check_boxes(np.zeros((0, 4)), (100, 80))
    assert checked.xyxy.shape == (0, 4)
    assert not checked.counts


def test_boxes_mostly_beyond_the_picture_are_misplaced() -> None:
    assert check_boxes([[0, 0, 50, 50], [60, 0, 200, 50], [150, 0, 200, 50]], (100, 80)).misplaced == 2

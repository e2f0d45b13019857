"""Where ids stand: against a dict, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from agent.pool.ids import rows_of, rows_of_all
from tests.agent.pools import random_pool


def test_rows_are_those_that_a_dict_gives() -> None:
    rng = np.random.default_rng(0)
    ids = rng.permutation(5000)[:1000] - 500  # neither sorted nor contiguous, some below 0
    images = rng.integers(-1000, 6000, 3000)
    by_hand = {image: row for row, image in enumerate(ids.tolist())}
    rows = rows_of(ids, images)
    assert rows.tolist() == [by_hand.get(image, -1) for image in images.tolist()]
    assert rows.dtype == np.int64
    assert (rows == -1).any()
    assert (rows >= 0).any()


@pytest.mark.parametrize(
    ("ids", "images", "rows"),
    [
        ([], [], []),
        ([], [3, 4], [-1, -1]),
        ([3, 4], [], []),
        ([7], [6, 7, 8], [-1, 0, -1]),
        ([2**62, -5], [2**62], [0]),
    ],
)
def test_empty_and_absent(ids: list[int], images: list[int], rows: list[int]) -> None:
    got = rows_of(np.array(ids, np.int64), images)
    assert got.tolist() == rows
    assert got.dtype == np.int64


def test_a_pool_names_the_images_that_it_has_not() -> None:
    pool = random_pool(20)
    order = np.random.default_rng(1).permutation(20)
    np.testing.assert_array_equal(pool.rows(pool.ids[order]), order)
    assert pool.rows([]).shape == (0,)
    with pytest.raises(KeyError, match=r"images \[999\] are not among these 20"):
        pool.rows([int(pool.ids[3]), 999])
    with pytest.raises(KeyError, match=r"\[1, 2, 3, 4, 5\] are not among these 0"):
        rows_of_all(pool.ids[:0], range(1, 9))

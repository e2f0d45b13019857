from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.pool.phi import LIMIT, describe_pool
from agent.pool.pool import Pool
from tests.agent.pools import detections_of, pool_of, random_pool


def raw(pool: Pool) -> np.ndarray:
    columns = [k for k, name in enumerate(pool.columns) if name != "expected_boxes"]
    components = np.pad(pool.standardised, ((0, 0), (0, 8)))[:, :8]
    return np.hstack([pool.descriptors[:, columns], np.log1p(pool.expected), components]).astype(np.float64)


@pytest.mark.parametrize("width", [3, 8, 60])
def test_columns_are_standardised_over_the_pool(width: int) -> None:
    pool = random_pool(3000, width=width)
    phi = describe_pool(pool)
    assert phi.values.dtype == np.float32
    assert phi.values.shape == (3000, len(phi.columns))
    assert phi.columns[:2] == ("max_entropy", "mean_entropy")
    assert phi.columns[8:12] == ("expected_c0", "expected_c1", "expected_c2", "expected_c3")
    assert phi.columns[12:] == tuple(f"component_{k}" for k in range(8))
    rows = raw(pool)
    spread = rows.std(axis=0)
    expected = (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1)
    np.testing.assert_allclose(phi.values, expected.clip(-LIMIT, LIMIT), atol=1e-4)
    np.testing.assert_array_equal(phi.values[:, 12 + width :], 0)


def test_outliers_are_clipped() -> None:
    pool = pool_of([detections_of([[0.5]])] * 400, [[0.0]] * 399 + [[1e6]])
    component = describe_pool(pool).values[:, -8]
    assert component.max() == LIMIT
    assert component.min() > -1


def test_constant_columns_and_an_empty_pool() -> None:
    np.testing.assert_array_equal(describe_pool(random_pool(1)).values, 0)
    same = describe_pool(pool_of([detections_of([[0.3]])] * 5, np.full((5, 2), 0.7)))
    np.testing.assert_array_equal(same.values, 0)
    assert describe_pool(random_pool(0)).values.shape[0] == 0


def test_on_disk_it_is_the_same(tmp_path: Path) -> None:
    pool = random_pool(50)
    on_disk = describe_pool(replace(pool, directory=tmp_path))
    np.testing.assert_array_equal(on_disk.values, describe_pool(pool).values)

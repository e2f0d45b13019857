from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.pool import reduction
from agent.pool.reduction import COMPONENTS, Reduction, allocate, evenly


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduction.chunks, "__defaults__", (7,))  # every test crosses chunk borders


def standard(encodings: np.ndarray, labeled: np.ndarray) -> np.ndarray:
    """Both sets with every channel at mean 0 and variance 1 / D: where distances are true."""
    both = np.concatenate([encodings, labeled]).astype(np.float64)
    return (both - both.mean(axis=0)) / both.std(axis=0) / np.sqrt(both.shape[1])


def gaps(x: np.ndarray) -> np.ndarray:
    return np.linalg.norm(x[:, None].astype(np.float64) - x[None], axis=2)


def test_few_channels_are_standardised_and_not_rotated() -> None:
    rng = np.random.default_rng(0)
    scale = np.array([1e-3, 1, 40, 1e5])
    pool, labeled = rng.normal(5, 1, (30, 4)) * scale, rng.normal(-3, 1, (20, 4)) * scale
    space = Reduction.fit(pool, labeled)
    both = np.concatenate([space.apply(pool), space.apply(labeled)])
    assert both.dtype == np.float32
    np.testing.assert_allclose(both, standard(pool, labeled), atol=1e-6)


def test_a_constant_channel_is_silent_and_one_image_is_enough() -> None:
    pool = np.array([[1, 0.3], [3, 0.3], [5, 0.3]], np.float32)
    x = Reduction.fit(pool, pool[:0]).apply(pool)
    np.testing.assert_allclose(x[:, 0], np.array([-2, 0, 2]) / np.sqrt(8 / 3) / np.sqrt(2), rtol=1e-6)
    np.testing.assert_array_equal(x[:, 1], 0)
    np.testing.assert_array_equal(Reduction.fit(pool[:1], pool[:0]).apply(pool[:1]), [[0, 0]])
    for width in (2, 60):
        nothing = np.zeros((0, width), np.float32)
        assert len(Reduction.fit(nothing, nothing).apply(nothing)) == 0


@given(st.integers(1, 23), st.integers(0, 10), st.integers(33, 90), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_small_pools_keep_their_distances(n: int, m: int, width: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.integers(-2, 3, width)
    pool = (rng.normal(size=(n, width)) * scale).astype(np.float32)
    labeled = (rng.normal(size=(m, width)) * scale).astype(np.float32)
    space = Reduction.fit(pool, labeled)
    x = np.concatenate([space.apply(pool), space.apply(labeled)])
    assert x.shape[1] <= COMPONENTS
    expected = gaps(standard(pool, labeled)) if n + m > 1 else np.zeros((1, 1))
    np.testing.assert_allclose(gaps(x), expected, atol=2e-6)


def test_as_many_components_as_explain_the_variance() -> None:
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(500, 5))
    pool = hidden @ rng.normal(size=(5, 80)) + rng.normal(0, 0.01, (500, 80))
    space = Reduction.fit(pool, pool[:0])
    x = space.apply(pool)
    assert x.shape == (500, 5)
    assert (np.diff(x.var(axis=0)) < 0).all()
    true = gaps(standard(pool, pool[:0]))
    off_diagonal = ~np.eye(500, dtype=bool)
    np.testing.assert_allclose(gaps(x)[off_diagonal], true[off_diagonal], rtol=0.02)
    assert Reduction.fit(rng.normal(size=(500, 80)), pool[:0]).width == COMPONENTS


def test_equal_encodings_stay_equal_wherever_they_stand() -> None:
    rng = np.random.default_rng(2)
    pool = rng.normal(size=(200, 90)).astype(np.float16)
    space = Reduction.fit(pool, pool[:0])
    mixed = rng.permutation(200)
    np.testing.assert_array_equal(space.apply(pool)[mixed], space.apply(pool[mixed]))
    np.testing.assert_array_equal(space.apply(pool)[3:4], space.apply(pool[3:4]))


def test_another_width_is_refused() -> None:
    space = Reduction.fit(np.ones((3, 4)), np.ones((0, 4)))
    with pytest.raises(ValueError, match="5 values, the reduction was fitted to 4: encode both"):
        space.apply(np.ones((2, 5)))


def test_an_array_on_disk_leaves_no_name(tmp_path: Path) -> None:
    array = allocate((40, 3), tmp_path)
    array[:] = np.arange(120).reshape(40, 3)
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(array[39], [117, 118, 119])
    assert allocate((0, 3), tmp_path).shape == (0, 3)


def test_evenly_spaced_rows() -> None:
    assert evenly(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert evenly(101, 3).tolist() == [0, 50, 100]
    assert evenly(0, 3).tolist() == []

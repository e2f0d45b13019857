from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from agent.pool import distances
from agent.pool.distances import density, nearest_distances, novelty, squared_distances


def brute(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a[:, None].astype(np.float64) - b[None], axis=2)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "CHUNK", 7)  # every test crosses chunk borders


def test_squared_distances() -> None:
    x = np.random.default_rng(1).normal(size=(23, 5)).astype(np.float32)
    np.testing.assert_allclose(squared_distances(x, x[4]), brute(x, x[4:5])[:, 0] ** 2, rtol=1e-5, atol=1e-9)
    assert squared_distances(x, x[4])[4] == 0


@pytest.mark.parametrize("k", [1, 3])
def test_nearest_distances_equal_brute_force(k: int) -> None:
    rng = np.random.default_rng(2)
    x, references = rng.normal(size=(23, 5)).astype(np.float32), rng.normal(size=(11, 5)).astype(np.float32)
    got = nearest_distances(x, references, k)
    np.testing.assert_allclose(got, np.sort(brute(x, references), axis=1)[:, :k], rtol=1e-5)


def test_novelty_of_a_labeled_duplicate_is_exactly_zero() -> None:
    rng = np.random.default_rng(3)
    x = (1000 + rng.normal(size=(20, 6))).astype(np.float32)
    got = novelty(x, x[12:])
    np.testing.assert_array_equal(got[12:], 0)
    assert (got[:12] > 0.1).all()


@pytest.mark.parametrize(("n", "neighbours", "references"), [(30, 10, 100), (30, 3, 12), (8, 10, 100), (2, 10, 100)])
def test_density_equals_brute_force(n: int, neighbours: int, references: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "NEIGHBOURS", neighbours)
    monkeypatch.setattr(distances, "REFERENCES", references)
    x = np.random.default_rng(4).normal(size=(n, 5)).astype(np.float32)
    rows = np.linspace(0, n - 1, min(n, references)).round().astype(int)
    far = brute(x, x[rows])
    far[rows, np.arange(len(rows))] = np.inf  # no image is its own neighbour
    expected = np.sort(far, axis=1)[:, : min(neighbours, len(rows) - 1)].mean(axis=1)
    np.testing.assert_allclose(density(x), expected, rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1])
def test_density_without_neighbours_is_zero(n: int) -> None:
    np.testing.assert_array_equal(density(np.ones((n, 3), np.float32)), np.zeros(n))


def test_density_needs_no_square_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distances, "CHUNK", 2048)
    monkeypatch.setattr(distances, "REFERENCES", 512)
    x = np.random.default_rng(5).normal(size=(20_000, 4)).astype(np.float32)
    tracemalloc.start()
    density(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6  # all pairs would take 1,600 MB


def test_a_large_pool_is_compared_with_fewer_references(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(8).normal(size=(60, 3)).astype(np.float32)
    whole, near = density(x), novelty(x, x[:40])
    for name, value in {"LARGE": 50, "REFERENCES_OF_LARGE": 20, "LABELED_OF_LARGE": 10}.items():
        monkeypatch.setattr(distances, name, value)
    fewer = density(x)
    assert fewer.mean() > whole.mean()
    assert (novelty(x, x[:40]) >= near).all()
    assert (novelty(x, x[:40]) == 0).sum() == 10
    monkeypatch.setattr(distances, "LARGE", 60)
    monkeypatch.setattr(distances, "REFERENCES", 20)
    np.testing.assert_array_equal(fewer, density(x))

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.gain.rows import Noise, Row, Rows


def row(gain: float = 0.01, *, group: str = "a", cycle: int = 3, error: float = 0.002, source: str = "cycle") -> Row:
    phi = np.array([[1, 2], [3, 4], [5, 6]], np.float32)
    return Row(np.array([7, 8, 9]), phi, gain, error, source, group, cycle, ("novelty", "component_0"))


def test_age_weights() -> None:
    rows = Rows([row(cycle=4), row(cycle=3), row(cycle=0)])
    np.testing.assert_allclose(rows.aged(4), [1, 0.5**0.5, 0.25])


def test_aligned_by_name() -> None:
    old, new = Rows([row(cycle=3), row(cycle=4)]).aligned(("component_0", "boxes_of_bus", "novelty"), 4)
    assert old.columns == new.columns == ("component_0", "boxes_of_bus", "novelty")
    assert old.phi.tolist() == [[0, 0, 1], [0, 0, 3], [0, 0, 5]]  # components had another basis then
    assert new.phi.tolist() == [[2, 0, 1], [4, 0, 3], [6, 0, 5]]
    assert new.phi.dtype == np.float32


def test_round_trip(tmp_path: Path) -> None:
    wide = Row(np.array([1]), np.ones((1, 3), np.float32), -0.02, 0.0, "surrogate", "b", 9, ("x", "y", "z"))
    rows = Rows([row(), wide])
    path = tmp_path / "rows.npz"
    rows.save(path)
    again = Rows.load(path)
    assert [p.name for p in tmp_path.iterdir()] == ["rows.npz"]
    assert len(again) == 2
    for one, other in zip(rows, again, strict=True):
        for name in ("gain", "error", "source", "group", "cycle", "columns"):
            assert getattr(one, name) == getattr(other, name)
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.phi, other.phi)
        assert other.phi.dtype == np.float32
    Rows().save(path)
    assert Rows.load(path) == ()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:0],
        lambda data: b"not rows" + data,
        lambda data: data[: len(data) // 2],
        lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 0xFF]) + data[len(data) // 2 + 1 :],
    ],
    ids=["empty", "other", "cut", "flipped"],
)
def test_damaged_file(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "rows.npz"
    Rows([row()] * 4).save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"rows\.npz is damaged .*measured anew"):
        Rows.load(path)


def test_what_cannot_be_a_row_is_named() -> None:
    with pytest.raises(ValueError, match=r"2 images and 2 columns has phi \(3, 2\)"):
        replace(row(), ids=np.array([1, 2]))
    with pytest.raises(ValueError, match="source 'guess'"):
        row(source="guess")
    with pytest.raises(ValueError, match="gain nan"):
        row(float("nan"))
    with pytest.raises(ValueError, match=r"error -0\.1"):
        row(error=-0.1)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**31 - 1))
def test_precision_inverts_the_covariance(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = Noise(rng.uniform(0.1, 2, n), rng.uniform(0, 3, n), rng.integers(0, 3, n))
    covariance = noise.covariance()
    np.testing.assert_allclose(noise.precision(np.ones(n)) @ covariance, np.eye(n), atol=1e-8)
    # A row resample twice is two rows of independent noise of their own; one not resample says nothing.
    twice = np.r_[np.arange(1, n), np.arange(1, n)]
    resample = Noise(noise.own[twice], noise.shared[twice], noise.groups[twice])
    e = rng.normal(size=n)
    expected = e[twice] @ np.linalg.solve(resample.covariance(), e[twice]) if n > 1 else 0.0
    assert e @ noise.precision(np.r_[0.0, np.full(n - 1, 2.0)]) @ e == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_noise_is_estimated_per_source_and_ages() -> None:
    rng = np.random.default_rng(0)
    rows = [
        row(error=0.001, source=source, group=f"{source}{k % 8}", cycle=cycle)
        for source, cycle in (("hindsight", 4), ("surrogate", 2))
        for k in range(400)
    ]
    offset = {name: rng.normal(0, 0.05) for name in sorted({r.group for r in rows})}
    residuals = np.array([offset[r.group] + rng.normal(0, 0.01 if r.source == "hindsight" else 0.03) for r in rows])
    noise = Noise.of(rows, residuals)
    assert np.sqrt(noise.own[0]) == pytest.approx(0.01, rel=0.1)
    assert np.sqrt(noise.own[-1]) == pytest.approx(0.03 * 2**0.5, rel=0.1)  # a half-life old: half the weight
    assert noise.shared[0] == pytest.approx(0.05, rel=0.4)

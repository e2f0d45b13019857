"""Reduction: the few-dimensional space in which encodings are compared, and rows of arrays that may lie on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

CHUNK = 2048  # rows at a time: of 448 channels in float64, 7 MiB
COMPONENTS = 32
EXPLAINED = 0.995
SAMPLE = 4096


class Matrix(Protocol):
    """A two-dimensional array that is read some rows at a time: an ndarray, or rows of a file."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, D)."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | np.ndarray, /) -> np.ndarray: ...


def allocate(shape: tuple[int, int], directory: Path | None) -> np.ndarray:
    """Zeros (n, D) float32: in memory, or mapped from a nameless file in `directory` that goes with the array."""
    if directory is None or 0 in shape:
        return np.zeros(shape, np.float32)
    with tempfile.TemporaryFile(dir=directory) as file:
        mapped: np.memmap = np.memmap(file, np.float32, "w+", shape=shape)
    return np.asarray(mapped)


def chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices of at most `size` that cover `count` rows."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def evenly(count: int, size: int) -> np.ndarray:
    """(min(count, size),) int64, evenly spaced rows from the first to the last of `count`."""
    return np.linspace(0, count - 1, min(count, size)).round().astype(np.int64)


@dataclass(frozen=True, eq=False)
class Reduction:
    """An affine map of encodings into the space in which distances are taken.

    Every channel gets mean 0 and variance 1 / D over the images it was fitted to: channels of a network differ in scale
    by orders of magnitude, and the loudest would decide alone. A distance of 1 then means that two images differ by one
    standard deviation in the root mean square of their channels; two unrelated images lie about 1.4 apart. A channel
    that never varies becomes 0. The principal components of what results follow, largest first, so that Euclidean
    distances are kept as far as the components reach.

    Attributes:
        mean: (D,) float64 of the channels.
        scale: (D,) float64, 1 / (standard deviation * sqrt(D)), 0 for a channel that never varies.
        basis: (D, k) float64, orthonormal columns; None where D <= 32 and nothing is rotated (k = D).
    """

    mean: np.ndarray
    scale: np.ndarray
    basis: np.ndarray | None

    @classmethod
    def fit(cls, encodings: Matrix, labeled: Matrix) -> Reduction:
        """The map for a pool (n, D) and its labeled images (m, D), fitted to at most 4,096 evenly spaced rows of each.

        At most 32 components are kept: all of them where the rows span no more, so that distances are exact; else as
        many as explain 99.5 % of the variance.
        """
        parts = [rows[evenly(len(rows), SAMPLE)].astype(np.float64) for rows in (encodings, labeled) if len(rows)]
        width = encodings.shape[1]
        if not parts:
            return cls(np.zeros(width), np.zeros(width), None if width <= COMPONENTS else np.zeros((width, 0)))
        rows = np.concatenate(parts)
        mean = rows.mean(axis=0)
        rows -= mean
        spread = np.sqrt(np.square(rows).mean(axis=0))
        constant = spread <= 1e-6 * np.abs(mean)  # only float32's rounding varies there
        scale = np.where(constant, 0.0, 1.0 / np.where(constant, 1.0, spread * np.sqrt(max(width, 1))))
        if width <= COMPONENTS:
            return cls(mean, scale, None)
        rows *= scale
        return cls(mean, scale, _components(rows))

    @property
    def width(self) -> int:
        """k, the number of components."""
        return len(self.mean) if self.basis is None else self.basis.shape[1]

    def apply(self, encodings: Matrix, directory: Path | None = None) -> np.ndarray:
        """(n, k) float32 of encodings (n, D), mapped from a file in `directory` where one is given.

        Computed in float64 and then rounded, so that equal encodings stay equal wherever they stand.
        """
        if encodings.shape[1] != len(self.mean):
            raise ValueError(
                f"encodings have {encodings.shape[1]} values, the reduction was fitted to {len(self.mean)}: encode "
                "both with the same detector"
            )
        out = allocate((len(encodings), self.width), directory)
        for chunk in chunks(len(encodings)):
            standard = (encodings[chunk].astype(np.float64) - self.mean) * self.scale
            out[chunk] = standard if self.basis is None else standard @ self.basis
        return out


def _components(rows: np.ndarray) -> np.ndarray:
    """(D, k) principal axes of centred rows (n, D), by falling variance."""
    variance, axes = np.linalg.eigh(rows.T @ rows)
    variance, axes = variance[::-1], axes[:, ::-1]
    rank = int((variance > 1e-12 * max(variance[0], 0.0)).sum())
    if rank > COMPONENTS:
        explained = np.cumsum(variance) / variance.sum()
        rank = min(COMPONENTS, int(np.searchsorted(explained, EXPLAINED)) + 1)
    axes = axes[:, :rank]
    return axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(rank)])  # an axis' sign is arbitrary: fix it

"""Where points lie on a map, and how dark the cells of a heat map are. parts/insight.html draws both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SIDE, MARGIN = 400.0, 10.0
SHADES = 9


@dataclass(frozen=True)
class Dot:
    """A point in an SVG of SIDE x SIDE."""

    left: float
    top: float
    task: int


@dataclass(frozen=True)
class Scatter:
    """Groups of points; the later lie on top."""

    groups: Mapping[str, Sequence[Dot]]

    @classmethod
    def of(cls, groups: Mapping[str, Sequence[tuple[float, float, int]]]) -> Scatter:
        """Of (x, y, task) with x and y in [-1, 1], y upwards."""
        half = SIDE / 2 - MARGIN
        return cls(
            {
                name: [Dot(round(SIDE / 2 + half * x, 1), round(SIDE / 2 - half * y, 1), task) for x, y, task in points]
                for name, points in groups.items()
            }
        )


@dataclass(frozen=True)
class Heat:
    """Rows of numbers with their shades, 0 to SHADES: of the largest number, whatever its row.

    Attributes:
        rows: (what the row is of, its numbers, their shades).
    """

    rows: Sequence[tuple[Any, Sequence[float], Sequence[int]]]

    @classmethod
    def of(cls, numbers: Sequence[Sequence[float]], about: Sequence[Any]) -> Heat:
        """One row a thing."""
        most = max((value for row in numbers for value in row), default=0.0)
        shades = [[round(SHADES * max(0.0, value) / most) if most > 0 else 0 for value in row] for row in numbers]
        return cls(list(zip(about, numbers, shades, strict=True)))

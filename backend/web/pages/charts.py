"""Where the marks of a plot lie. The templates in parts/chart.html draw them as SVG, in the colours of the theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

WIDTH, HEIGHT = 640.0, 260.0
LEFT, RIGHT, TOP, BOTTOM = 48.0, 12.0, 12.0, 40.0


@dataclass(frozen=True)
class Mark:
    """One measured point.

    Attributes:
        low, high: its interval, where there is one.
        text: what it stands for, for people.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    text: str = ""


@dataclass(frozen=True)
class Line:
    """Points that belong together, by rising x."""

    name: str
    marks: Sequence[Mark]


@dataclass
class Plot:
    """Lines over a common x. Coordinates are those of an SVG of WIDTH x HEIGHT.

    Attributes:
        title: what is shown, for those who do not see it too.
        x, y: what the axes measure.
        y_from: that the y axis begins with at the latest; None: where the marks begin.
    """

    title: str
    x: str
    y: str
    lines: Sequence[Line]
    y_from: float | None = 0.0
    xs: list[float] = field(init=False)
    ys: list[float] = field(init=False)

    def __post_init__(self) -> None:
        marks = [mark for line in self.lines for mark in line.marks]
        tops = [value for mark in marks for value in (mark.y, mark.low, mark.high) if value is not None]
        if self.y_from is not None:
            tops.append(self.y_from)
        self.xs, self.ys = ticks([mark.x for mark in marks]), ticks(tops)

    def left(self, x: float) -> float:
        """Of a value of x."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * _share(x, self.xs), 1)

    def top(self, y: float) -> float:
        """Of a value of y."""
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * _share(y, self.ys), 1)

    def path(self, line: Line) -> str:
        """For <polyline points>."""
        return " ".join(f"{self.left(mark.x)},{self.top(mark.y)}" for mark in line.marks)

    def band(self, line: Line) -> str:
        """For <polygon points>: the intervals of a line."""
        held = [mark for mark in line.marks if mark.low is not None and mark.high is not None]
        upper = [f"{self.left(mark.x)},{self.top(mark.high or 0.0)}" for mark in held]
        lower = [f"{self.left(mark.x)},{self.top(mark.low or 0.0)}" for mark in reversed(held)]
        return " ".join(upper + lower)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(line.marks for line in self.lines)


def ticks(values: Sequence[float], about: int = 5) -> list[float]:
    """Round numbers from below the lowest to above the highest value: steps of 1, 2 or 5 times a power of ten."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if high == low:
        low, high = min(low, 0.0), max(high, 1.0)
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]


def tick(value: float) -> str:
    """A tick's label: as many digits as it has."""
    return f"{round(value, 10):,.10f}".rstrip("0").rstrip(".")


def _share(value: float, over: Sequence[float]) -> float:
    return (value - over[0]) / (over[-1] - over[0])

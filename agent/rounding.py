"""Figures for JSON, which knows neither nan nor infinity."""

from __future__ import annotations

import math


def rounded(value: float, digits: int = 4) -> float | None:
    """The value with so many digits after the point; None where it is nan or infinite.

    >>> rounded(0.123456), rounded(0.123456, 2), rounded(float("nan"))
    (0.1235, 0.12, None)
    """
    return round(float(value), digits) if math.isfinite(value) else None

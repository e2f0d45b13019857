"""Figures that a version keeps, as the API answers them: what is no number is null, because JSON has no other word."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from agent.holdout import FEWEST_BOXES, FEWEST_IMAGES
from backend.web.api.answers import ClassScore, Interval, Scores
from model.damage import SIGNS


def interval(held: Any) -> Interval | None:
    """Of two numbers; None where they are none."""
    try:
        low, high = map(float, held)
    except (TypeError, ValueError):
        return None
    return Interval(low=low, high=high) if math.isfinite(low) and math.isfinite(high) else None


def believed(metrics: Mapping[str, Any]) -> Interval | None:
    """The interval of `Metrics.to_dict()`'s mAP; None where so few are held out that the bootstrap cannot know it:
    of one image each resample is the same, and its interval has no width."""
    images, boxes = (finite(metrics.get(name)) for name in ("images", "boxes"))
    few_images, few_boxes = images is not None and images < FEWEST_IMAGES, boxes is not None and boxes < FEWEST_BOXES
    return None if few_images or few_boxes else interval(metrics.get("map_interval"))


def edges(held: Any) -> list[float] | None:
    """An interval as a pair."""
    around = interval(held)
    return [around.low, around.high] if around is not None else None


def finite(value: Any) -> float | None:
    """A figure; None where it is no number."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def number(value: Any) -> float | None:
    """A figure in [0, 1]; None where it was not measured (-1), or is no number."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def scores(metrics: dict[str, Any] | None) -> Scores | None:
    """Of `Metrics.to_dict()`; None where there is none, nothing in it was measured, or it is of another shape."""
    if not metrics or number(metrics.get("map")) is None:
        return None
    try:
        return _scores(metrics)
    except SIGNS:
        return None


def _scores(metrics: dict[str, Any]) -> Scores:
    classes, intervals = metrics.get("per_class") or {}, metrics.get("class_intervals") or {}
    images, boxes = (int(metrics.get(name) or 0) for name in ("images", "boxes"))
    enough = images >= FEWEST_IMAGES and boxes >= FEWEST_BOXES
    return Scores(
        map=float(metrics["map"]),
        map50=number(metrics.get("map50")),
        map75=number(metrics.get("map75")),
        interval=believed(metrics),
        classes=[
            ClassScore(name=name, ap=number(ap), interval=interval(intervals.get(name)) if enough else None)
            for name, ap in classes.items()
        ],
        images=images,
        boxes=boxes,
        enough=enough,
    )

"""Shapes that people draw on an image, as the points around them in pixels: rectangles, ellipses, polygons, brushes,
points. What a region says is checked here, value by value."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

SLACK = 1.0  # percent by which a side may be longer than the image: rounding
INSIDE = 0.5  # share of a shape that must lie in the image; less of it, and the numbers are pixels, not percent
SMALLEST = 1.0  # pixel
BRUSH_PIXELS = 50_000_000  # of the largest mask that is decoded
NO_PERCENT = "numbers that are no percent of the image (pixels?)"


class ShapeError(ValueError):
    """A shape whose place is not known; the message says in a few words why, without its numbers."""


class _Shape(BaseModel, ABC):
    """Numbers in percent of the image's sides, x to the right and y down."""

    model_config = ConfigDict(strict=True)

    @abstractmethod
    def outline(self, size: np.ndarray) -> np.ndarray:
        """(n, 2) points around it, in pixels of an image of `size` (width, height)."""


class _Rectangle(_Shape):
    x: FiniteFloat
    y: FiniteFloat
    width: FiniteFloat
    height: FiniteFloat
    rotation: FiniteFloat | None = None

    def outline(self, size: np.ndarray) -> np.ndarray:
        if not self.rotation and max(abs(self.width), abs(self.height)) > 100 + SLACK:
            raise ShapeError(NO_PERCENT)
        along, down = _axes(self.rotation)
        along, down = along * self.width * size[0] / 100, down * self.height * size[1] / 100
        return np.array([self.x, self.y]) * size / 100 + np.array([[0, 0], along, along + down, down])


class _Ellipse(_Shape):
    x: FiniteFloat
    y: FiniteFloat
    radius_x: FiniteFloat = Field(alias="radiusX")
    radius_y: FiniteFloat = Field(alias="radiusY")
    rotation: FiniteFloat | None = None

    def outline(self, size: np.ndarray) -> np.ndarray:
        along, down = _axes(self.rotation)
        around = np.linspace(0, 2 * math.pi, 64, endpoint=False)
        horizontal = np.cos(around)[:, None] * along * self.radius_x * size[0] / 100
        vertical = np.sin(around)[:, None] * down * self.radius_y * size[1] / 100
        return np.array([self.x, self.y]) * size / 100 + horizontal + vertical


class _Polygon(_Shape):
    points: list[Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]] = Field(min_length=3)

    def outline(self, size: np.ndarray) -> np.ndarray:
        return np.array(self.points) * size / 100


class _Keypoint(_Shape):
    x: FiniteFloat
    y: FiniteFloat

    def outline(self, size: np.ndarray) -> np.ndarray:
        return np.array([[self.x, self.y]]) * size / 100


class _Brush(_Shape):
    """A mask, of which only the box around it is used."""

    rle: list[Annotated[int, Field(ge=0, le=255)]] = Field(min_length=6)
    original_width: int = Field(gt=0)
    original_height: int = Field(gt=0)

    def outline(self, size: np.ndarray) -> np.ndarray:
        from label_studio_sdk.converter.brush import decode_rle  # half a second, and seldom needed

        width, height = self.original_width, self.original_height
        if width * height > BRUSH_PIXELS or int.from_bytes(bytes(self.rle[:4]), "big") != 4 * width * height:
            raise ShapeError("a brush that is not of the image's size")
        try:
            mask = decode_rle(self.rle).reshape(height, width, 4)[:, :, 3] > 0
        except ValueError as error:
            raise ShapeError("a brush that cannot be decoded") from error
        columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
        if not len(columns):
            raise ShapeError("a brush that marks nothing")
        low, high = (columns[0], rows[0]), (columns[-1] + 1, rows[-1] + 1)
        corners = np.array([low, (high[0], low[1]), high, (low[0], high[1])], np.float64)
        return corners * size / (width, height)


SHAPES: dict[str, type[_Shape]] = {
    "rectangle": _Rectangle,
    "ellipse": _Ellipse,
    "polygon": _Polygon,
    "keypoint": _Keypoint,
    "brush": _Brush,
}
"""By what a region's `type` begins with; the rest of it is "" or "labels"."""
UNREAD = ("vector", "bitmask", "magicwand", "cuboid")
"""Shapes of an image that are not read."""


def outline(kind: str, region: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    """(n, 2) points around the shape of a region, in pixels of an image of `size`; one point for a keypoint.

    Raises ShapeError where the region does not say where it is.
    """
    value = region.get("value")
    if not isinstance(value, Mapping):
        raise ShapeError("a region without a value")
    if kind not in SHAPES:
        raise ShapeError(f"a {kind}, which is not read")
    about = {key: region.get(key) for key in ("original_width", "original_height")} if kind == "brush" else {}
    try:
        shape = SHAPES[kind].model_validate({**value, **about})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][:1])
        fault = f"without {name}" if first["type"] == "missing" else f"whose {name} is no number that can be used"
        raise ShapeError(f"a {kind} {fault}") from error
    with np.errstate(over="ignore", invalid="ignore"):
        points = shape.outline(np.array(size, np.float64))
    if not np.isfinite(points).all():
        raise ShapeError(NO_PERCENT)
    return points


def box(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The upright box (x1, y1, x2, y2) around an outline, cut at the image's edges.

    Raises ShapeError where there is none: a point, what is smaller than a pixel, what lies outside.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    if len(points) == 1:
        raise ShapeError("a point, which has no size")
    if (high - low).min() < SMALLEST:
        raise ShapeError("a region smaller than a pixel")
    inner_low, inner_high = np.clip(low, 0, size), np.clip(high, 0, size)
    if np.prod(inner_high - inner_low) < INSIDE * np.prod(high - low) or (inner_high - inner_low).min() < SMALLEST:
        raise ShapeError(NO_PERCENT)
    return np.concatenate([inner_low, inner_high])


def _axes(rotation: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along a shape's width and down its height, turned clockwise by degrees."""
    turn = math.radians(rotation or 0)
    return np.array([math.cos(turn), math.sin(turn)]), np.array([-math.sin(turn), math.cos(turn)])

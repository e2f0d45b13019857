"""The entries of a COCO file as people write them: ids as text, sizes that are missing, polygons without a box."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError, field_validator, model_validator

from model.data.formats.walk import shown

DIGITS = 100  # of an id; Python refuses to read numbers of 4,300


def key(value: Any) -> Any:
    """An id as a whole number where it is one, written as text or not; other text as it is.

    >>> key("12"), key(12.0), key("a12")
    (12, 12, 'a12')
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str):
        text = value.strip()
        return int(text) if len(text) <= DIGITS and text.removeprefix("-").isdecimal() and text.isascii() else text
    return value if isinstance(value, int) and not isinstance(value, bool) else str(value)


def why(error: ValidationError) -> str:
    """The first thing that is wrong with an entry, in one line."""
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"an entry without {place!r}"
    said = first["msg"].removeprefix("Value error, ")
    return shown(f"{place} is {first['input']!r:.60}: {said}" if place else said)


def _size(value: Any) -> int | None:
    """A number of pixels; None where the file does not say: it is asked of the picture."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return round(number) if math.isfinite(number) and number >= 1 else None


Key = Annotated[int | str, BeforeValidator(lambda value: value if value is None else key(value))]
Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else str(value).strip())]


class Image(BaseModel):
    """An entry of `images`."""

    id: Key
    file_name: str = Field(min_length=1)
    width: Annotated[int | None, BeforeValidator(_size)] = None
    height: Annotated[int | None, BeforeValidator(_size)] = None
    split: Text = ""

    @property
    def size(self) -> tuple[int, int] | None:
        return (self.width, self.height) if self.width and self.height else None


class Category(BaseModel):
    """An entry of `categories`."""

    id: Key
    name: Annotated[str, BeforeValidator(lambda value: str(value).strip() if type(value) in (str, int) else value)]
    supercategory: Text = ""

    @field_validator("name")
    @classmethod
    def _named(cls, name: str) -> str:
        if not name or shown(name) != " ".join(name.split()):
            raise ValueError("a category needs a name that is text")
        return name


class Annotation(BaseModel):
    """An entry of `annotations`: x, y, width and height in pixels, or the polygons that the box surrounds."""

    image_id: Key
    category_id: Key
    bbox: list[float]
    iscrowd: Annotated[bool, BeforeValidator(lambda value: value or False)] = False

    @model_validator(mode="before")
    @classmethod
    def _box_of_polygons(cls, entry: Any) -> Any:
        if not isinstance(entry, dict) or entry.get("bbox") not in (None, [], [0, 0, 0, 0]):
            return entry
        box = _around(entry.get("segmentation"))
        return entry | {"bbox": box} if box else entry

    @field_validator("bbox")
    @classmethod
    def _four(cls, bbox: list[float]) -> list[float]:
        if len(bbox) != 4:
            raise ValueError("x, y, width and height were expected")
        return bbox

    @property
    def corners(self) -> list[float]:
        x, y, width, height = self.bbox
        return [x, y, x + width, y + height]


def _around(polygons: Any) -> list[float] | None:
    """x, y, width and height around polygons [x, y, x, y, ...]; None where there are none."""
    if not isinstance(polygons, list) or not all(isinstance(polygon, list) for polygon in polygons):
        return None
    if not all(isinstance(n, (int, float)) for polygon in polygons for n in polygon):
        return None
    x, y = [n for p in polygons for n in p[::2]], [n for p in polygons for n in p[1::2]]
    return [min(x), min(y), max(x) - min(x), max(y) - min(y)] if x and y else None

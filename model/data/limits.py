"""How large a picture may be: a small file can cost very much memory once it is decoded.

The limit is one of the process, as Pillow's own is, because whatever decodes a picture is bound by it.
"""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from model.data.effort import MOST_SCANS, has_many_scans, tile_of

MEGAPIXELS = 128.0  # the largest sensors of cameras but two have 102; a picture costs 7 to 16 bytes a pixel here
FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""what browsers show, and so Label Studio, and what cameras and scanners write; Pillow's other parsers stay closed"""


class TooLargeError(ValueError):
    """A picture of more pixels than are allowed; the message says how many it has, and the setting."""


class _Room:
    """The pixels that may be decoded at once; who wants more than are left waits."""

    def __init__(self) -> None:
        self.most, self.taken, self.changed = 0, 0, threading.Condition()
        self.allow(MEGAPIXELS)

    def allow(self, megapixels: float) -> None:
        self.most = round(megapixels * 1e6)
        Image.MAX_IMAGE_PIXELS = self.most  # Pillow warns above it, and refuses twice as many by itself

    def check(self, width: int, height: int) -> None:
        if width * height > self.most:
            raise self.refusal(f"{width} x {height}")

    def refusal(self, many: str) -> TooLargeError:
        return TooLargeError(f"it has {many} pixels, more than the {self.most / 1e6:g} megapixels of IMAGE_MEGAPIXELS")

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: not self.taken or self.taken + pixels <= self.most)
            self.taken += pixels
        try:
            yield
        finally:
            with self.changed:
                self.taken -= pixels
                self.changed.notify_all()


_room = _Room()
allow = _room.allow
"""Set how many megapixels a picture may have, and all that are decoded at once together."""
check = _room.check
"""Raise TooLargeError where a picture of this width and height has too many."""
hold = _room.hold
"""Within, so many pixels count as being decoded; waits until there is room for them."""


@contextmanager
def decoding(source: Path | IO[bytes]) -> Iterator[Image.Image]:
    """Pillow's view of an image file, within which its pixels may be decoded: as soon as there is room for them.

    Raises TooLargeError before anything is decoded, and whatever Pillow raises.
    """
    with _opened(source) as image:
        check(*image.size)
        width, height = tile_of(image)
        check(width, height)
        if has_many_scans(image):
            raise TooLargeError(f"it has more than {MOST_SCANS} scans, each of which takes as long as a picture")
        with hold(max(image.width * image.height, width * height)):
            yield image


def pixels_of(data: bytes) -> int:
    """How many pixels an image file says that it has; 0 where that is not known."""
    try:
        with _opened(io.BytesIO(data)) as image:
            return image.width * image.height
    except Exception:  # noqa: BLE001 - broken files make Pillow's parsers raise almost anything
        return 0


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)  # some builds of Pillow lack some


def _opened(source: Path | IO[bytes]) -> Image.Image:
    """ultralytics replaces `Image.open` by one that wants a package where Pillow knows no format; that the package is
    missing is not why a file cannot be read."""
    try:
        return Image.open(source, formats=_formats())
    except ImportError:
        raise UnidentifiedImageError("no format that is read here") from None
    except Image.DecompressionBombError as error:
        many = re.search(r"\((\d+) pixels\)", str(error))
        raise _room.refusal(many[1] if many else "many") from None

"""What a file makes its decoder do that its width and height do not tell: the tiles of a TIFF, which may be larger than
the picture, and the scans of a JPEG, each of which goes over the whole picture and may take a few bytes of the file."""

from __future__ import annotations

import re

from PIL import Image

TILE_WIDTH, TILE_HEIGHT = 322, 323  # tags of TIFF
MOST_SCANS = 100  # of a JPEG; encoders make ten
MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # the others stand between the pixels
ALONE, START_OF_SCAN, END = (0x01, 0xD8), 0xDA, 0xD9


def tile_of(image: Image.Image) -> tuple[int, int]:
    """(width, height) of a TIFF's tiles, each of which is decoded as a whole; (0, 0) where there are none."""
    tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    if not tags:
        return 0, 0
    width, height = (tags.get(tag) for tag in (TILE_WIDTH, TILE_HEIGHT))
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (0, 0)


def has_many_scans(image: Image.Image) -> bool:
    """Whether a JPEG has more than MOST_SCANS; its file stays where it is read."""
    file = getattr(image, "fp", None)
    if file is None or not image.info.get("progressive"):
        return False
    place = file.tell()
    file.seek(0)
    data: bytes = file.read()
    file.seek(place)
    return _scans(data) > MOST_SCANS


def _scans(data: bytes) -> int:
    """How many scans the first picture of a file has; what is behind it, as a film, is not looked at."""
    at = count = 0
    while count <= MOST_SCANS and (found := MARKER.search(data, at)):
        kind, at = found[1][0], found.end()
        if kind == END:
            break
        count += kind == START_OF_SCAN
        if kind not in ALONE:
            at += int.from_bytes(data[at : at + 2])
    return count

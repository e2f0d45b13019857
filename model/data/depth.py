"""Pixels of more than 8 bits as 8 bits: scaled by the range that the image uses."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from model.data.effort import TILE_HEIGHT, TILE_WIDTH

ROWS = 256  # that are scaled at once: their floats are eight times as large as they
WIDTH, HEIGHT = 256, 257  # tags of TIFF
WHITES = (255, 1023, 4095, 16383, 65535)
"""the brightest value of cameras and scanners of 8, 10, 12, 14 and 16 bits, whatever the file could hold"""
NARROW = 16  # an image that uses less than this part of its range is stretched between its darkest and brightest value


def to_8_bits(values: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Integers or floats of any range as uint8 of the same shape; into `out`, where given.

    White is the brightest value of the smallest usual depth that holds all of them; 1 for floats up to 1. What fits
    none (negative, beyond 16 bits), and what would be one flat grey, is scaled from its least to its greatest value.
    NaN and infinities count as black and white.
    """
    if values.dtype == np.uint8 and out is None:
        return values
    whole = np.issubdtype(values.dtype, np.integer)
    parts = [values[top : top + ROWS] for top in range(0, len(values), ROWS)]
    low, high = _range(parts, whole)
    white = next((w for w in (WHITES if whole else (1, *WHITES)) if high <= w), None)
    stretched = low < 0 or white is None or 0 < (high - low) * NARROW < white
    result = np.empty(values.shape, np.uint8) if out is None else out
    for number, part in enumerate(parts):
        place = result[number * ROWS : number * ROWS + ROWS]
        if whole and not stretched:
            assert white is not None
            place[...] = part >> (white.bit_length() - 8)  # the upper 8 bits
            continue
        floats = part.astype(np.float64)
        scaled = (floats - low) * (255 / max(high - low, 1e-300)) if stretched else floats * (255 / (white or 1))
        place[...] = np.nan_to_num(scaled.round(), nan=0, posinf=255, neginf=0).clip(0, 255).astype(np.uint8)
    return result


def _range(parts: Sequence[np.ndarray], whole: bool) -> tuple[float, float]:
    """The least and the greatest number; NaN and infinities are none."""
    least, greatest = np.inf, -np.inf
    for part in parts:
        finite = part if whole else part[np.isfinite(part)]
        if finite.size:
            least, greatest = min(least, float(finite.min())), max(greatest, float(finite.max()))
    return (least, greatest) if least <= greatest else (0.0, 0.0)


def deep_colours(data: bytes) -> np.ndarray | None:
    """An image file's pixels in the depth that it has, where Pillow would keep the upper 8 bits or refuse: (height,
    width), or (height, width, 3 or 4) in the order R, G, B, alpha; None where they cannot be read.

    Of TIFF the orientation is applied, of PNG it is not.
    """
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim == 2:
        return pixels
    return pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]


def tiff_size(data: bytes) -> tuple[int, int]:
    """(width, height) that a TIFF's head says, or of its tiles where they are larger; also of one that Pillow does not
    read. Raises OSError."""
    try:
        directory = ImageFileDirectory_v2(data[:16] if data[2:3] == b"+" or data[3:4] == b"+" else data[:8])
        file = io.BytesIO(data)
        file.seek(directory.next)
        directory.load(file)
        width = max(int(directory[WIDTH]), int(directory.get(TILE_WIDTH, 0)))
        height = max(int(directory[HEIGHT]), int(directory.get(TILE_HEIGHT, 0)))
        return width, height
    except Exception as error:  # noqa: BLE001 - a broken file makes Pillow's parsers raise almost anything
        raise OSError(f"a TIFF whose head cannot be read: {error}") from None

"""A picture of any mode and depth shows what is in it: it is wholly black or white only where it is."""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from model.data.images import load_image

QUICK = settings(max_examples=60, deadline=None)
KINDS: dict[Any, tuple[str, ...]] = {
    np.uint8: ("PNG", "TIFF"),
    np.uint16: ("PNG", "TIFF"),
    np.int32: ("TIFF",),
    np.float32: ("TIFF",),
}
SHAPE = (3, 4)


def varied(values: np.ndarray) -> bool:
    """Whether there is anything to see: finite values that differ by more than the rounding of their own numbers."""
    finite = values[np.isfinite(values)].astype(np.float64)
    return finite.size > 0 and float(np.ptp(finite)) > 1e-30


@QUICK
@given(st.data(), st.sampled_from(sorted(KINDS, key=str)))
def test_grey_of_any_depth(data: st.DataObject, kind: Any) -> None:
    values = data.draw(arrays(kind, SHAPE))
    assume(varied(values))
    stored = io.BytesIO()
    Image.fromarray(values).save(stored, data.draw(st.sampled_from(KINDS[kind])))
    picture = load_image(stored.getvalue())
    assert picture.shape == (*SHAPE, 3)
    assert picture.min() < picture.max()


@QUICK
@given(st.data(), st.sampled_from([np.uint8, np.uint16, np.float32]), st.sampled_from([3, 4]))
def test_colours_of_any_depth(data: st.DataObject, kind: Any, channels: int) -> None:
    values = data.draw(arrays(kind, (*SHAPE, channels)))
    values[..., 3:] = np.iinfo(kind).max if np.issubdtype(kind, np.integer) else 1  # nothing is transparent
    assume(varied(values[..., :3]))
    suffix = ".tiff" if kind is np.float32 else data.draw(st.sampled_from([".png", ".tiff"]))
    ok, stored = cv2.imencode(suffix, values, [cv2.IMWRITE_TIFF_COMPRESSION, 1] if suffix == ".tiff" else [])
    assert ok
    picture = load_image(stored.tobytes())
    assert picture.shape == (*SHAPE, 3)
    assert picture.min() < picture.max()


def deep(grey: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)


MADE = {
    "I;16": deep,
    "I": lambda grey: deep(grey).convert("I"),
    "F": lambda grey: Image.fromarray((np.asarray(grey) / 255).astype(np.float32)),
    "LAB": lambda grey: Image.merge("LAB", [grey, *[Image.new("L", grey.size, 128)] * 2]),
    "PA": lambda grey: grey.convert("LA").convert("PA"),
    "CMYK": lambda grey: grey.convert("RGB").convert("CMYK"),
    "YCbCr": lambda grey: grey.convert("RGB").convert("YCbCr"),
}
"""How a grey picture becomes one of another mode, where `convert` alone does not do it."""


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(
    "stored",
    [
        "1 PNG", "1 TIFF", "L JPEG", "LA PNG", "P PNG", "P GIF", "P BMP", "PA TIFF", "RGB WEBP", "RGBA WEBP",
        "RGBA TIFF", "CMYK JPEG", "CMYK TIFF", "YCbCr JPEG", "YCbCr TIFF", "LAB TIFF", "I TIFF", "I;16 PNG",
        "I;16 TIFF", "F TIFF",
    ],
)  # fmt: skip
def test_every_mode(stored: str, orientation: int) -> None:
    """Half is dark and half is bright, whatever stores it."""
    mode, kind = stored.split()
    grey = Image.new("L", (12, 8))
    grey.paste(220, (6, 0, 12, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    MADE.get(mode, lambda grey: grey.convert(mode))(grey).save(
        file, kind, **({"exif": exif} if kind in ("PNG", "JPEG", "WEBP", "TIFF") else {})
    )
    shown = load_image(file.getvalue()).astype(int).mean(axis=2)
    assert shown.max() - shown.min() > 100
    assert (shown.shape == (12, 8)) == (orientation == 6 and kind not in ("GIF", "BMP"))

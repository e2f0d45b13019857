"""Pixels of more than 8 bits, floats, transparency and turned TIFFs, as any part of the product reads them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from model.data.depth import to_8_bits
from model.data.images import displayed_size, load_image
from tests.model.data.test_images import encode, gradient

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)
GREY = np.rint(RAMP * 255).astype(int)


def tiff(values: np.ndarray, orientation: int = 1) -> bytes:
    return encode(Image.fromarray(values), "TIFF", tiffinfo={0x0112: orientation})


def of_opencv(kind: str, values: np.ndarray) -> bytes:
    """Pillow writes no 16 bits in colour and no floats in colour."""
    options = [cv2.IMWRITE_TIFF_COMPRESSION, 1] if kind == ".tiff" else []  # 1: none; its own for floats loses digits
    ok, data = cv2.imencode(kind, values[..., [2, 1, 0, 3][: values.shape[2]]], options)
    assert ok
    return data.tobytes()


def colours(values: np.ndarray) -> np.ndarray:
    return np.stack([values, values[::-1], values[:, ::-1]], axis=-1)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_the_depth_that_an_image_uses_becomes_the_whole_range(bits: int, kind: str) -> None:
    values = np.rint(RAMP * (2**bits - 1)).astype(np.uint16)
    picture = load_image(encode(Image.fromarray(values), kind))
    assert np.abs(picture[..., 1].astype(int) - GREY).max() <= 1
    assert (picture == picture[..., :1]).all()


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_of_deep_colours_too(bits: int, kind: str) -> None:
    picture = load_image(of_opencv(kind, colours(np.rint(RAMP * (2**bits - 1)).astype(np.uint16))))
    assert np.abs(picture.astype(int) - colours(GREY)).max() <= 1


@pytest.mark.parametrize(
    "values",
    [
        RAMP.astype(np.float32),
        (RAMP * 255).astype(np.float32),
        (RAMP * 65535).astype(np.float32),
        (RAMP * 6 - 3).astype(np.float32),
        (RAMP * 1e-3).astype(np.float32),
        (RAMP * 1.02).astype(np.float32),
        np.rint(RAMP * 4095).astype(np.int32),
        np.rint(RAMP * 10_000_000).astype(np.int32),
        np.rint(RAMP * 3000 - 1000).astype(np.int32),
        np.rint(RAMP * 500 + 30000).astype(np.uint16),
    ],
    ids=["0..1", "0..255", "0..65535", "negative", "dark", "above 1", "12 bits", "24 bits", "signed", "narrow"],
)
def test_floats_and_long_integers_are_scaled_by_their_range(values: np.ndarray) -> None:
    assert np.abs(load_image(tiff(values))[..., 0].astype(int) - GREY).max() <= 1


def test_floats_in_colour() -> None:
    picture = load_image(of_opencv(".tiff", colours(RAMP).astype(np.float32)))
    assert np.abs(picture.astype(int) - colours(GREY)).max() <= 1


def test_what_is_no_number_is_black_or_white() -> None:
    values = np.array([[0.0, 0.5, 1.0, np.nan, np.inf, -np.inf]])
    assert to_8_bits(values).tolist() == [[0, 128, 255, 0, 255, 0]]
    assert to_8_bits(np.full((1, 2), np.nan)).tolist() == [[0, 0]]


@pytest.mark.parametrize("value", [0, 7, 40000])
def test_one_flat_value_stays_flat(value: int) -> None:
    assert len(np.unique(to_8_bits(np.full((4, 4), value, np.uint16)))) == 1


def drawing(mode: str) -> bytes:
    """A red square on nothing."""
    picture = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (2, 2, 6, 6))
    if mode == "P":
        flat = Image.new("P", (8, 8), 0)
        flat.putpalette([0, 0, 0, 255, 0, 0])
        flat.paste(1, (2, 2, 6, 6))
        return encode(flat, transparency=0)
    if mode == "RGB":
        return encode(picture.convert("RGB"), transparency=(0, 0, 0))
    if mode == "RGBA;16":
        return of_opencv(".png", np.asarray(picture).astype(np.uint16) * 257)
    return encode(picture, "WEBP" if mode == "WEBP" else "PNG", **({"lossless": True} if mode == "WEBP" else {}))


@pytest.mark.parametrize("mode", ["RGBA", "P", "RGB", "WEBP", "RGBA;16"])
def test_transparent_drawings_lie_on_white(mode: str) -> None:
    picture = load_image(drawing(mode))
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert picture[4, 4].tolist() == [255, 0, 0]


def test_what_is_half_transparent_is_mixed_with_white() -> None:
    grey = Image.merge("LA", (Image.new("L", (2, 2), 0), Image.new("L", (2, 2), 128)))
    assert load_image(encode(grey))[0, 0].tolist() == [127, 127, 127]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["RGB", "I;16", "F"])
def test_a_turned_tiff_is_turned_once(orientation: int, kind: str, tmp_path: Path) -> None:
    grey = gradient()[..., 0]
    stored = {"RGB": gradient(), "I;16": grey.astype(np.uint16) * 257, "F": (grey / 255).astype(np.float32)}[kind]
    data = tiff(stored, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = load_image(encode(gradient() if kind == "RGB" else grey, exif=exif))
    np.testing.assert_array_equal(load_image(data), expected)
    path = tmp_path / "turned.tif"
    path.write_bytes(data)
    assert displayed_size(path) == (expected.shape[1], expected.shape[0])

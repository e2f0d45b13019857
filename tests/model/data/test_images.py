"""One decoder: orientation, depth, colour modes and files that are broken."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from model.data.images import ImageError, displayed_size, letterbox, load_image


def gradient(height: int = 30, width: int = 40) -> np.ndarray:
    """No symmetry, so that every turn can be told from every other."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 5, y * 7, (x + y) * 2], axis=-1).astype(np.uint8)


def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)


def encode(image: Image.Image | np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **options)
    return buffer.getvalue()


def turned(orientation: int, kind: str = "PNG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(gradient(), kind, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_applied_as_pillow_does(orientation: int, tmp_path: Path) -> None:
    data = turned(orientation)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(load_image(data), expected)
    (tmp_path / "turned.png").write_bytes(data)
    assert displayed_size(tmp_path / "turned.png") == (expected.shape[1], expected.shape[0])


def test_a_phone_held_upright() -> None:
    """Orientation 6: what the sensor stored as its left edge is the top of the picture."""
    upright = load_image(turned(6))
    assert upright.shape == (40, 30, 3)
    np.testing.assert_array_equal(upright[0], gradient()[::-1, 0])


@pytest.mark.parametrize("orientation", [0, 9, 700])
def test_an_orientation_that_does_not_exist_is_upright(orientation: int) -> None:
    np.testing.assert_array_equal(load_image(turned(orientation)), gradient())


XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"


def texts(**blocks: str) -> PngInfo:
    info = PngInfo()
    for name, text in blocks.items():
        info.add_text(name, text)
    return info


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"xmp": XMP}),
        ("WEBP", {"xmp": XMP, "lossless": True}),
        ("PNG", {"pnginfo": texts(**{"XML:com.adobe.xmp": XMP.decode()})}),
        ("PNG", {"pnginfo": texts(**{"Raw profile type exif": f"\nexif\n{len(EXIF)}\n{EXIF.hex()}\n"})}),
    ],
)
def test_only_exif_turns_a_picture(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Browsers do not look at XMP, where programs that turned the pixels leave what the camera wrote."""
    data = encode(gradient(), kind, **options)
    assert Image.open(io.BytesIO(data)).getexif().get(0x0112) == 6
    (tmp_path / "picture").write_bytes(data)
    assert load_image(data).shape == (30, 40, 3)
    assert displayed_size(tmp_path / "picture") == (40, 30)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("block", [b"Exif\0\0not a TIFF header", b"Exif\0\0MM\0*\0\xef"])
def test_a_broken_exif_block_does_not_hide_the_picture(kind: str, block: bytes, tmp_path: Path) -> None:
    data = encode(gradient(), kind, exif=block)
    assert load_image(data).shape == (30, 40, 3)
    (tmp_path / "broken").write_bytes(data)
    assert displayed_size(tmp_path / "broken") == (40, 30)


def test_of_16_bits_the_upper_8_are_kept() -> None:
    deep = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    picture = load_image(encode(deep))
    np.testing.assert_array_equal(picture, np.repeat((deep >> 8).astype(np.uint8)[..., None], 3, axis=2))
    assert len(np.unique(picture)) == 256


def test_16_bits_with_an_orientation() -> None:
    deep = np.arange(30 * 40, dtype=np.uint16).reshape(30, 40) * 50
    exif = Image.Exif()
    exif[0x0112] = 6
    np.testing.assert_array_equal(load_image(encode(deep, exif=exif))[..., 0], np.rot90(deep >> 8, -1))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGBA", "P"])
def test_colour_modes_of_png_become_rgb(mode: str) -> None:
    picture = Image.fromarray(gradient()).convert(mode)
    np.testing.assert_array_equal(load_image(encode(picture)), np.asarray(picture.convert("RGB")))


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    picture = Image.new("P", (4, 4), 1)
    picture.putpalette([0, 0, 0, 10, 200, 30])
    assert load_image(encode(picture, transparency=0))[0, 0].tolist() == [10, 200, 30]


def test_cmyk_jpeg_becomes_rgb() -> None:
    assert load_image(encode(Image.fromarray(gradient()).convert("CMYK"), "JPEG")).shape == (30, 40, 3)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.jpg: no such file"):
        load_image(tmp_path / "missing.jpg")
    with pytest.raises(ImageError, match=r"missing\.jpg: no such file"):
        displayed_size(tmp_path / "missing.jpg")


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>404 not found</html>", encode(noise(), "JPEG")[:900], encode(noise())[:2000]],
    ids=["empty", "html", "truncated jpeg", "truncated png"],
)
def test_a_corrupt_file_is_named_with_the_remedy(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "corrupt.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"corrupt\.jpg: cannot be decoded .* upload it again"):
        load_image(path)
    with pytest.raises(ImageError, match="task 12: cannot be decoded"):
        load_image(data, name="task 12")


def test_a_directory_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="cannot be decoded"):
        load_image(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about the damage
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "GIF"])
def test_damage_gives_a_picture_or_an_image_error_and_nothing_else(kind: str) -> None:
    whole, rng = turned(6, kind) if kind in ("JPEG", "PNG", "WEBP") else encode(gradient(), kind), random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.3 else whole)
        for _ in range(rng.choice([1, 2, 5])):
            if damaged:
                damaged[rng.randrange(min(len(damaged), rng.choice([60, 150, len(whole)])))] = rng.randrange(256)
        try:
            assert load_image(bytes(damaged)).dtype == np.uint8
        except ImageError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("shape", [(30, 40), (40, 30), (64, 64), (200, 100), (1, 500), (500, 1), (1, 1)])
def test_letterbox_keeps_shape_and_tells_where_it_put_the_picture(shape: tuple[int, int]) -> None:
    height, width = shape
    square, scale, (left, top) = letterbox(np.full((height, width, 3), 250, np.uint8), 64)
    assert square.shape == (64, 64, 3)
    assert scale == 64 / max(height, width)
    ys, xs = np.nonzero(square[..., 0] == 250)
    assert (xs.min(), ys.min()) == (left, top)
    assert abs((xs.max() + 1 - left) - width * scale) <= 1
    assert abs((ys.max() + 1 - top) - height * scale) <= 1
    assert set(np.unique(square)) <= {114, 250}


def test_letterbox_maps_a_point_with_scale_and_offset() -> None:
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[40:60, 120:160] = 255  # centre (140, 50)
    square, scale, (left, top) = letterbox(picture, 64)
    ys, xs = np.nonzero(square[..., 0] > 200)
    assert (xs.min() + xs.max() + 1) / 2 == pytest.approx(140 * scale + left, abs=0.6)
    assert (ys.min() + ys.max() + 1) / 2 == pytest.approx(50 * scale + top, abs=0.6)

"""What is said of bytes that are no picture, and which damage is no harm."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from model.data.images import ImageError, displayed_size, load_image
from tests.model.data.test_images import encode

PAGE = b"<!-- 1 -->\n<!DOCTYPE html><html><head><title>\n Log  in </title></head><body>please</body></html>"


def busy(height: int = 150, width: int = 200) -> np.ndarray:
    """Different in every row."""
    return cv2.resize(np.random.default_rng(0).integers(1, 256, (15, 20, 3), dtype=np.uint8), (width, height))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty"),
        (b"\0" * 500, "500 zero bytes"),
        (PAGE, "web page.*login.*titled 'Log in'"),
        (b"\xef\xbb\xbf\n<HTML><body>gone</body></HTML>", "web page"),
        (b'<?xml version="1.0"?>\n<!-- by hand -->\n<svg xmlns="http://www.w3.org/2000/svg"></svg>', "SVG drawing"),
        (b"<svg width='4'></svg>", "SVG drawing"),
        (b"%PDF-1.7 ...", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
        (b"PK\x03\x04....", "archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "storage's answer: AccessDenied"),
        (b'{"detail": "Not found."}', "JSON"),
        (b"no picture", "text: 'no picture'"),
        (b"\x01\x02\x03\x04 whatever \xfe", "begin with 01 02 03 04"),
    ],
)
def test_bytes_that_are_no_picture_are_said_to_be_what_they_look_like(data: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"image x: cannot be decoded .*{said}.*as JPEG or PNG"):
        load_image(data, "x")
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=said):
        displayed_size(path)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("GIF", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {})],
)
def test_a_picture_without_its_second_half_says_after_how_much(kind: str, options: dict[str, bool]) -> None:
    data = encode(Image.fromarray(busy()), kind, **options)
    with pytest.raises(ImageError, match=r"truncated after (about )?\d+ of \d+ (rows|bytes)"):
        load_image(data[: len(data) // 2], "x")


def test_the_rows_are_about_right() -> None:
    data = encode(Image.fromarray(busy()), "BMP")
    with pytest.raises(ImageError, match=r"after about 7[345] of 150 rows"):
        load_image(data[: len(data) // 2])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("missing", [1, 2])
def test_a_jpeg_without_its_end_is_read(progressive: bool, missing: int) -> None:
    data = encode(Image.fromarray(busy()), "JPEG", progressive=progressive)
    np.testing.assert_array_equal(load_image(data[:-missing]), load_image(data))


@pytest.mark.parametrize("below", [0, 128])
def test_so_is_one_whose_lower_half_is_one_colour(below: int) -> None:
    picture = busy()
    picture[70:] = below
    data = encode(Image.fromarray(picture), "JPEG")
    np.testing.assert_array_equal(load_image(data[:-2]), load_image(data))


def test_a_jpeg_that_lacks_pixels_is_refused_with_the_rows_that_it_has() -> None:
    data = encode(Image.fromarray(busy()), "JPEG")
    with pytest.raises(ImageError, match=r"truncated after 14\d of 150 rows"):
        load_image(data[:-20])


def test_a_turned_jpeg_without_its_end_is_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(Image.fromarray(busy()), "JPEG", exif=exif)
    assert load_image(data[:-2]).shape == (200, 150, 3)
    assert Image.open(io.BytesIO(data)).size == (200, 150)

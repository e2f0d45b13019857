"""Small files that hold very many pixels: what they say of themselves is looked at before they are decoded."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from model.data import limits
from model.data.images import ImageError, displayed_size, load_image
from model.data.limits import decoding, pixels_of

WIDE, HIGH = 120, 90  # 10,800 pixels


@pytest.fixture(autouse=True)
def ten_thousand() -> Iterator[None]:
    """Pixels that a picture may have."""
    limits.allow(0.01)
    yield
    limits.allow(limits.MEGAPIXELS)


def encoded(kind: str, width: int, height: int, mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, (width, height)).save(file, kind)
    return file.getvalue()


def deep(kind: str, width: int, height: int, number: type = np.uint16) -> bytes:
    return bytes(cv2.imencode(kind, np.ones((height, width, 3), number))[1].tobytes())


def frames(kind: str, first: tuple[int, int], second: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", first).save(file, kind, save_all=True, append_images=[Image.new("RGB", second, "white")])
    return file.getvalue()


TOO_MANY = {
    "PNG": encoded("PNG", WIDE, HIGH),
    "PNG, palette": encoded("PNG", WIDE, HIGH, "P"),
    "PNG, transparent": encoded("PNG", WIDE, HIGH, "RGBA"),
    "PNG, 16 bits": deep(".png", WIDE, HIGH),
    "JPEG": encoded("JPEG", WIDE, HIGH),
    "JPEG, cut off": encoded("JPEG", WIDE, HIGH)[:-2],
    "JPEG, half": encoded("JPEG", WIDE, HIGH)[:-20],
    "WebP": encoded("WEBP", WIDE, HIGH),
    "TIFF": encoded("TIFF", WIDE, HIGH),
    "TIFF, 16 bits": deep(".tiff", WIDE, HIGH),
    "TIFF, floats": encoded("TIFF", WIDE, HIGH, "F"),
    "TIFF, floats in colour": deep(".tiff", WIDE, HIGH, np.float32),
    "GIF": encoded("GIF", WIDE, HIGH),
    "BMP": encoded("BMP", WIDE, HIGH),
    "PPM": encoded("PPM", WIDE, HIGH),
    "GIF, frames": frames("GIF", (WIDE, HIGH), (WIDE, HIGH)),
    "WebP, frames": frames("WEBP", (WIDE, HIGH), (WIDE, HIGH)),
    "PNG, frames": frames("PNG", (WIDE, HIGH), (WIDE, HIGH)),
    "TIFF, pages": frames("TIFF", (WIDE, HIGH), (10, 10)),
}


def png_that_claims(width: int, height: int) -> bytes:
    """Much in its head, and nothing behind it."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("what", TOO_MANY)
def test_pictures_with_too_many_pixels_are_refused_before_they_are_decoded(
    what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "load", decoded)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    monkeypatch.setattr(cv2, "imdecode", decoded)
    with pytest.raises(ImageError, match=r"has 120 x 90 pixels, more than the 0\.01 megapixels of IMAGE_MEGAPIXELS"):
        load_image(TOO_MANY[what], "a.png")
    (tmp_path / "picture").write_bytes(TOO_MANY[what])
    with pytest.raises(ImageError, match="IMAGE_MEGAPIXELS"):
        displayed_size(tmp_path / "picture")


@pytest.mark.parametrize("side", [13_377, 30_000, 2**31 - 1])
def test_what_pillow_itself_would_refuse_is_told_alike(side: int) -> None:
    limits.allow(limits.MEGAPIXELS)
    with pytest.raises(ImageError, match=r"has \d.* pixels, more than the 128 megapixels of IMAGE_MEGAPIXELS"):
        load_image(png_that_claims(side, side), "a.png")


def test_a_larger_limit_lets_them_in() -> None:
    limits.allow(0.0108)
    assert load_image(TOO_MANY["PNG"]).shape == (HIGH, WIDE, 3)


def test_only_the_first_page_counts() -> None:
    assert load_image(frames("TIFF", (20, 10), (WIDE, HIGH))).shape == (10, 20, 3)


@pytest.mark.parametrize("kind", ["ICO", "JPEG2000", "TGA", "PCX", "EPS", "PDF"])
def test_formats_that_no_browser_shows_are_not_parsed(kind: str) -> None:
    with pytest.raises(ImageError, match="upload it again as JPEG or PNG"):
        load_image(encoded(kind, 16, 16))


def test_together_they_have_no_more_pixels_than_one_may_have() -> None:
    """Four threads, each with a picture of 0.4 of what is allowed."""
    most, now, guard = 0, 0, threading.Lock()
    data, leaving = encoded("PNG", 80, 50), threading.Barrier(2, timeout=10)

    def decode() -> None:
        nonlocal most, now
        with decoding(io.BytesIO(data)):
            with guard:
                now += 1
                most = max(most, now)
            leaving.wait()  # two are always within: a third would raise `most`
            with guard:
                now -= 1

    threads = [threading.Thread(target=decode) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (most, now) == (2, 0)


def test_one_that_is_as_large_as_allowed_is_decoded_alone() -> None:
    whole, small = encoded("PNG", 100, 100), encoded("PNG", 8, 8)
    order: list[str] = []

    def decode() -> None:
        with decoding(io.BytesIO(small)):
            order.append("small")

    with decoding(io.BytesIO(whole)):
        thread = threading.Thread(target=decode)
        thread.start()
        thread.join(0.1)
        order.append("whole")
    thread.join(10)
    assert order == ["whole", "small"]


def tiled(tile: int, bits: int, bands: int = 1, kind: int = 1) -> bytes:
    """A TIFF of 16 x 16 pixels in one tile of `tile` x `tile`, packed."""
    pixels = zlib.compress(b"\0" * 1000)
    tags = {256: (4, 16), 257: (4, 16), 258: (3, bits), 259: (3, 8), 262: (3, min(bands, 2)), 277: (3, bands)}
    tags |= {322: (4, tile), 323: (4, tile), 324: (4, 8), 325: (4, len(pixels)), 339: (3, kind)}
    pixels += b"\0" * (len(pixels) % 2)
    entries = b"".join(struct.pack("<HHII", tag, *of[:1], 1, of[1]) for tag, of in sorted(tags.items()))
    head = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    return head + pixels + struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)


@pytest.mark.parametrize(
    ("bits", "bands", "kind"), [(8, 1, 1), (8, 3, 1), (16, 1, 1), (16, 3, 1), (32, 1, 3), (32, 3, 3)]
)
def test_tiles_that_are_larger_than_the_picture_count(
    bits: int, bands: int, kind: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decoded)
    monkeypatch.setattr(cv2, "imdecode", decoded)
    with pytest.raises(
        ImageError, match=r"has 16384 x 16384 pixels, more than the 0\.01 megapixels of IMAGE_MEGAPIXELS"
    ):
        load_image(tiled(16384, bits, bands, kind))


def with_scans(count: int, behind: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan is there so many times more."""
    file = io.BytesIO()
    Image.new("L", (90, 90)).save(file, "JPEG", progressive=True)
    data = file.getvalue()
    last, end = data.rindex(b"\xff\xda"), data.rindex(b"\xff\xd9")
    return data[:last] + data[last:end] * count + data[end:] + behind


def test_a_jpeg_of_very_many_scans_is_not_decoded() -> None:
    with pytest.raises(ImageError, match="more than 100 scans"):
        load_image(with_scans(200))
    with pytest.raises(ImageError, match="more than 100 scans"):
        load_image(with_scans(200)[:-2])
    assert load_image(with_scans(50)).shape == (90, 90, 3)
    film = b"\xff\xda\0\0" * 1000  # as phones put it behind the picture
    assert load_image(with_scans(1, film)).shape == (90, 90, 3)


@pytest.mark.parametrize("kind", ["ICO", "JPEG2000", "TGA", "PCX", "EPS", "PDF"])
def test_no_other_parser_is_asked_for_the_size(kind: str) -> None:
    assert pixels_of(encoded(kind, 16, 16)) == 0
    assert pixels_of(encoded("PNG", 16, 16)) == 256

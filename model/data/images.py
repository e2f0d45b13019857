"""Reading pictures: one decoder for every part, so that boxes always mean the same pixels."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from model.data.depth import deep_colours, tiff_size, to_8_bits
from model.data.limits import TooLargeError, check, decoding, hold
from model.data.undecodable import what_it_is, with_end


class ImageError(ValueError):
    """An image that cannot be read; the message names it and says why."""


# EXIF orientation -> what turns the stored pixels upright (EXIF 2.32, tag 0x0112).
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ROWS = 256  # that are converted at once: the memory of a picture is that of its pixels, not of copies
SMALL = 2_000_000  # pixels of a picture that is converted as a whole: what most are, and a third faster
JPEG, TIFF = b"\xff\xd8", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def load_image(source: str | Path | bytes, name: str | None = None) -> np.ndarray:
    """Decode an image file or its bytes to (height, width, 3) uint8 RGB: for training, prediction and evaluation.

    The orientation is applied, because browsers (and so Label Studio's boxes) apply it too. What is transparent lies on
    white, as browsers show it. More than 8 bits are scaled by `to_8_bits`. Of an animation the first frame is read. A
    JPEG may lack its end, as long as it lacks no pixel.

    Raises:
        ImageError: the file is missing, has too many pixels or cannot be decoded; the message says what it looks like,
            and has `name` (default: the path).
    """
    label = name or (f"{len(source)} bytes" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else _read(Path(source), label)
    try:
        return _decode(data)
    except TooLargeError as error:
        raise ImageError(f"image {label}: {error}; upload it smaller") from None
    except Exception as error:  # noqa: BLE001 - a broken file makes Pillow's parsers raise almost anything
        why = what_it_is(data, error)
    raise ImageError(f"image {label}: cannot be decoded ({why}); upload it again as JPEG or PNG")


def displayed_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image file as displayed, mostly without decoding its pixels. Raises ImageError."""
    try:
        with decoding(path) as image:  # the orientation of a PNG is behind its pixels
            return (image.height, image.width) if orientation(image) >= 5 else image.size  # 5 to 8 lie on their side
    except FileNotFoundError:
        raise ImageError(f"image {path}: no such file") from None
    except Exception:  # noqa: BLE001 - as above
        height, width = load_image(path).shape[:2]  # says what it is, or reads what Pillow does not
        return width, height


def lying(path: Path) -> int:
    """The EXIF orientation of a picture that is stored on its side, 5 to 8; 0 for any other, and for what is none."""
    try:
        with decoding(path) as image:
            turn = orientation(image)
    except Exception:  # noqa: BLE001 - as above
        return 0
    return turn if turn >= 5 else 0


def _read(path: Path, label: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"image {label}: no such file") from None
    except OSError as error:
        raise ImageError(
            f"image {label}: cannot be decoded ({error.strerror}); is it a file that may be read?"
        ) from None


def _decode(data: bytes) -> np.ndarray:
    try:
        return _pixels(data)
    except OSError:
        if data.startswith(TIFF):
            width, height = tiff_size(data)
            check(width, height)
            with hold(width * height):
                if (deep := deep_colours(data)) is not None:  # floats in three channels
                    return _on_white(Image.fromarray(_four_or_less(deep)))
        if not data.startswith(JPEG):
            raise
    return _pixels(with_end(data))


def _pixels(data: bytes) -> np.ndarray:
    with decoding(io.BytesIO(data)) as image:
        stored = _stored_as(image)  # before anything decodes it, as reading the orientation of a PNG does
        turn = UPRIGHT.get(orientation(image))
        shown: Image.Image = image
        if image.mode.startswith(("I", "F")):
            shown = Image.fromarray(to_8_bits(np.asarray(image)))
        elif ";16" in stored and (deep := _deep(data)) is not None:
            image.close()
            shown = Image.fromarray(deep)
            del deep
        return _on_white(shown if turn is None else shown.transpose(turn))


def _deep(data: bytes) -> np.ndarray | None:
    """Pixels of more than 8 bits, where they can be read."""
    deep = deep_colours(data)
    return None if deep is None else _four_or_less(deep)


def _stored_as(image: Image.Image) -> str:
    """Pillow's name of the file's own pixels, as "RGB;16B"; "None" once they are decoded."""
    tiles = getattr(image, "tile", None)
    arguments = tiles[0].args if tiles else None
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _four_or_less(deep: np.ndarray) -> np.ndarray:
    """Colours of any depth as 8 bits, scaled together; alpha by the whole depth, because it is no brightness."""
    if deep.ndim == 2 or deep.shape[2] < 4:
        return to_8_bits(deep)
    full = np.iinfo(deep.dtype).max if np.issubdtype(deep.dtype, np.integer) else 1
    out = np.empty(deep.shape, np.uint8)
    to_8_bits(deep[..., :3], out[..., :3])
    for top in range(0, len(deep), ROWS):
        alpha = deep[top : top + ROWS, :, 3].astype(np.float64) * (255 / full)
        out[top : top + ROWS, :, 3] = alpha.round().clip(0, 255).astype(np.uint8)
    return out


def _on_white(image: Image.Image) -> np.ndarray:
    """(height, width, 3) uint8, a few rows after the other."""
    image.load()
    if image.mode == "RGB" and image.width * image.height <= SMALL and not image.has_transparency_data:
        return np.array(image)
    out = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, ROWS):
        rows = image.crop((0, top, image.width, min(top + ROWS, image.height)))
        if rows.has_transparency_data:
            drawing = rows.convert("RGBA")
            rows = Image.alpha_composite(Image.new("RGBA", drawing.size, "white"), drawing)
        out[top : top + ROWS] = np.asarray(rows.convert("RGB"))
    return out


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none or the EXIF block is broken, as in browsers.

    Of TIFF it is 1: Pillow turns those itself, and OpenCV too. Only an EXIF block counts: Pillow's `getexif` would take
    the orientation that XMP names, which browsers do not look at.
    """
    if image.format == "TIFF":
        return 1
    exif = Image.Exif()
    try:
        if image.format == "PNG" and "exif" not in image.info:
            image.load()  # the block may be behind the pixels
        exif.load(image.info.get("exif") or b"")
        value = exif.get(0x0112, 1)
    except Exception:  # noqa: BLE001 - the pixels may be fine all the same
        return 1
    return value if value in UPRIGHT else 1


def letterbox(image: np.ndarray, size: int) -> tuple[np.ndarray, float, tuple[float, float]]:
    """Fit an image into a grey square of side `size`, keeping its shape.

    Returns:
        (size, size, 3) uint8, the scale, and (left, top) of the picture in the square: x' = x * scale + left.
    """
    height, width = image.shape[:2]
    scale = size / max(height, width)
    w, h = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - w) // 2, (size - h) // 2
    square = np.full((size, size, 3), 114, np.uint8)
    square[top : top + h, left : left + w] = cv2.resize(
        image, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    )
    return square, scale, (left, top)


@dataclass(frozen=True, eq=False)
class Letterboxed:
    """A picture as a network looks at it: what is left of it when only the network needs it.

    Attributes:
        square: (S, S, 3) uint8.
        scale, offset: see `letterbox`.
        size: (width, height) of the picture.
    """

    square: np.ndarray
    scale: float
    offset: tuple[float, float]
    size: tuple[int, int]

    @classmethod
    def of(cls, image: np.ndarray, side: int) -> Letterboxed:
        """A picture, (height, width, 3) uint8, in a square of `side` pixels."""
        return cls(*letterbox(image, side), (image.shape[1], image.shape[0]))

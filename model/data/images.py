"""Reading pictures: one decoder for every part, so that boxes always mean the same pixels."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


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


def load_image(source: str | Path | bytes, name: str | None = None) -> np.ndarray:
    """Decode an image file or its bytes to (height, width, 3) uint8 RGB.

    The EXIF orientation is applied, because browsers (and so Label Studio's boxes) apply it too. Of 16 bits a channel
    the upper 8 are kept, transparency is dropped, and of an animation the first frame is read.

    Raises:
        ImageError: the file is missing, empty or not an image; `name` (default: the path) is in the message.
    """
    label = name or (f"{len(source)} bytes" if isinstance(source, bytes) else str(source))
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            turn = UPRIGHT.get(orientation(image))
            upright = image if turn is None else image.transpose(turn)
            if upright.mode.startswith("I;16"):  # Pillow would clip it at 255
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            return np.asarray(upright.convert("RGB"))
    except FileNotFoundError:
        raise ImageError(f"image {label}: no such file") from None
    except Exception as error:  # noqa: BLE001 - a broken file makes Pillow's parsers raise almost anything
        raise ImageError(f"image {label}: cannot be decoded ({error}); upload it again as JPEG or PNG") from None


def displayed_size(path: Path) -> tuple[int, int]:
    """(width, height) of an image file as displayed, without decoding its pixels. Raises ImageError."""
    try:
        with Image.open(path) as image:
            return (image.height, image.width) if orientation(image) >= 5 else image.size  # 5 to 8 lie on their side
    except FileNotFoundError:
        raise ImageError(f"image {path}: no such file") from None
    except Exception as error:  # noqa: BLE001 - as above
        raise ImageError(f"image {path}: cannot be decoded ({error}); replace it by a JPEG or PNG") from None


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none or the EXIF block is broken, as in browsers."""
    try:
        value = image.getexif().get(0x0112, 1)
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

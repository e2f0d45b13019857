"""Picture files of a given size and EXIF orientation."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def write_picture(path: Path, width: int, height: int, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (width, height)).save(path, exif=exif)

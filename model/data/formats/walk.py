"""The files of a directory tree: linked folders are followed, what systems leave behind is passed over."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

PICTURES = frozenset(
    {
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".bmp",
        ".dib",
        ".webp",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".ppm",
        ".pgm",
    }
)
"""suffixes, in lower case, of the pictures that `model.data.limits` has decoded"""
LEFT_BEHIND = {"__MACOSX", "@eaDir"}  # by archives made on a Mac, by Synology's disks


def files_below(directory: Path, suffixes: frozenset[str]) -> list[Path]:
    """Every file with one of these suffixes (in any case) in a directory and those in it, sorted.

    Names that begin with a dot are passed over: `._x.jpg`, `.ipynb_checkpoints/`. A link to a folder that holds it is
    followed once.
    """
    found = (path for path in _walk(directory, set()) if path.suffix.lower() in suffixes)
    return sorted(found, key=lambda path: path.parts)  # the order of paths, seven times as fast


def pictures_below(directory: Path) -> list[Path]:
    """Every picture in a directory and those in it, sorted."""
    return files_below(directory, PICTURES)


def child(directory: Path, *names: str) -> Path | None:
    """The entry of a directory that has the first of these names, written in any case; None where there is none."""
    if not directory.is_dir():
        return None
    entries = {alike(path.name): path for path in sorted(directory.iterdir(), reverse=True)}
    return next((entries[alike(name)] for name in names if alike(name) in entries), None)


def alike(name: str) -> str:
    """The same text for names that some systems take for one: in any case, with an umlaut as one letter or as two."""
    return unicodedata.normalize("NFC", name).lower()


def folders(directory: Path) -> list[Path]:
    """The folders in a directory that are not left behind by a system, sorted."""
    return sorted(path for path in directory.iterdir() if path.is_dir() and not _passed_over(path.name))


def is_file(path: Path) -> bool:
    """Whether there is such a file; no for a name that no file can have, as one of 10,000 letters."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def shown(path: Path | str) -> str:
    """A path for a message of one line: names may hold anything."""
    return " ".join(str(path).encode("utf-8", "backslashreplace").decode().split())


def _walk(directory: Path, above: set[Path]) -> Iterator[Path]:
    real = directory.resolve()
    if real in above:  # a link to a folder that holds it
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            if _passed_over(entry.name):
                continue
            if entry.is_dir():
                yield from _walk(directory / entry.name, above | {real})
            elif entry.is_file():
                yield directory / entry.name


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name in LEFT_BEHIND

"""Text files as people save them: UTF-8 with or without a mark at the start, UTF-16; anything else is refused."""

from __future__ import annotations

import codecs
from pathlib import Path

from model.data.formats.walk import shown


def read_bytes(file: Path) -> bytes:
    """What is in a file. Raises ValueError, in one line that names it, where it cannot be opened."""
    try:
        return file.read_bytes()
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ValueError(f"{shown(file)}: cannot be opened ({why}); is it a file that may be read?") from None


def read_text(file: Path) -> str:
    """The file's text. Raises ValueError, in one line that names the file, where it cannot be opened, or is in another
    encoding."""
    raw = read_bytes(file)
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(f"{shown(file)}, line {line}: not UTF-8 text; save the file as UTF-8") from None


def read_names(file: Path) -> list[str]:
    """Class names, one a line, as classes.txt and obj.names have them: the line's number is the class.

    Raises:
        ValueError: there is no name, a line between names is blank, or a name occurs twice.
    """
    lines = [line.strip() for line in read_text(file).rstrip().splitlines()]
    if "" in lines:
        raise ValueError(
            f"{shown(file)}, line {lines.index('') + 1}: blank, but classes are numbered by line; name it, or remove it"
        )
    return distinct(lines, file)


def distinct(names: list[str], source: Path | str) -> list[str]:
    """The names themselves. Raises ValueError where there is none, or one occurs twice."""
    if not names:
        raise ValueError(f"{source}: names no class; list the class names")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ValueError(f"{source}: two classes are named {twice!r}; give each a name of its own")
    return names

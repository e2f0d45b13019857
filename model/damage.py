"""Damaged files: cut, emptied, overwritten, of another shape, or a directory in their place.

Whoever reads a file says what is to be done where it cannot be read:

    with reading(file, "`mgral rank 7` makes it anew"):
        return Survey(**json.loads(file.read_bytes()))
"""

from __future__ import annotations

import logging
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

log = logging.getLogger(__name__)

SIGNS = (
    ValueError,  # JSON, Unicode, numpy
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    MemoryError,  # the header of an array asks for any size
    EOFError,
    IsADirectoryError,
    NotADirectoryError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
)
"""What reading raises where a file's contents are at fault, and neither the disk nor the rights."""


class DamagedError(ValueError):
    """A file that cannot be read; one line that names it and the remedy."""


@contextmanager
def reading(file: Path | str, remedy: str) -> Iterator[None]:
    """Raise DamagedError in the place of what reading a damaged `file` raises; FileNotFoundError stays as it is.

    Args:
        remedy: what is to be done, or what happens by itself.
    """
    try:
        yield
    except DamagedError:
        raise
    except SIGNS as error:
        raise DamagedError(f"{file} is damaged ({_line(error)}): {remedy}") from error


@lru_cache(maxsize=1000)
def warn(line: str) -> None:
    """Say a line in the log, once a process: a damaged pointer is read with every request."""
    log.warning("%s", line)


def _line(error: BaseException) -> str:
    """What an error says, in one line; a directory's error would name the file once more."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(said.split())[:200]
    return f"{type(error).__name__}: {text}" if isinstance(error, LookupError) else text or type(error).__name__

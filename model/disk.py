"""Full disks: told in plain words, and where it can be known, before the work."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

FULL = {errno.ENOSPC, errno.EDQUOT}
TORCH = ("PytorchStreamWriter failed", "unexpected pos ", "iostream error")  # it drops the number when it saves


class DiskFullError(OSError):
    """There is no room; one line that names the setting, the directory and the remedy."""

    def __init__(self, line: str) -> None:
        super().__init__(errno.ENOSPC, line)

    def __str__(self) -> str:  # OSError would put the number before it
        return str(self.args[1])


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or one that it comes from, is a full disk or a used up quota."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
            return True
        if isinstance(error, RuntimeError) and any(text in str(error) for text in TORCH):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def told(places: Mapping[str, Path]) -> Iterator[None]:
    """Raise DiskFullError where a disk turns out to be full.

    Args:
        places: setting -> the directory that it names; the line names the one with the least room.
    """
    try:
        yield
    except DiskFullError:
        raise
    except (OSError, sqlite3.Error, RuntimeError) as error:
        if not is_full(error):
            raise
        name, place = min(places.items(), key=lambda entry: free(entry[1]))
        raise DiskFullError(
            f"the disk of {name} is full ({place}: {megabytes(free(place))} free): make room, or point {name} "
            "elsewhere; nothing that was finished is lost"
        ) from error


def check(place: Path, need: float, work: str) -> str:
    """A line where there is room for `need` bytes, but not for twice as much; "" where there is.

    Raises DiskFullError where there is not enough. `work`: what needs them, for people.
    """
    left = free(place)
    line = f"{work} needs about {megabytes(need)} on the disk of MODEL_DIR, and {megabytes(left)} are free ({place})"
    if left < need:
        raise DiskFullError(
            f"{line}: make room (KEEP_VERSIONS and KEEP_PREDICTIONS say how much is kept), or point MODEL_DIR elsewhere"
        )
    return f"{line}: make room soon" if left < 2 * need else ""


def free(place: Path) -> int:
    """Bytes that may be written at `place`, which need not be there yet."""
    while not place.exists() and place != place.parent:
        place = place.parent
    return shutil.disk_usage(place).free


def megabytes(size: float) -> str:
    """A size for people."""
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"

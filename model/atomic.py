"""Files that are written whole or not at all, and that outlast a power cut."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from filelock import FileLock

TEMPORARY = ".tmp-"
"""What half-written and half-deleted things are called until they are renamed."""


def write_file(path: Path, data: bytes) -> None:
    """Put `data` at `path` by one rename; on any failure what was there stays. One writer at a time, please: lock.

    A directory that lies at `path` by mistake is deleted.
    """
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    for place in (temporary, path):
        if place.is_dir():
            remove(place)
    try:
        temporary.write_bytes(data)
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


def contents(path: Path) -> bytes:
    """What is in a file. Raises FileNotFoundError, and IsADirectoryError where no file lies at `path`: of a pipe one
    would wait for the end."""
    if path.exists() and not path.is_file():
        raise IsADirectoryError(errno.EISDIR, "it is no file", str(path))
    return path.read_bytes()


def sync(path: Path) -> None:
    """Wait until a file's contents, or a directory's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a file, or a directory in two steps: a reader sees all of it or nothing."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    if not path.name.startswith(TEMPORARY):
        aside = path.with_name(f"{TEMPORARY}{path.name}")
        if os.path.lexists(aside):  # what an earlier deletion left
            remove(aside)
        path = path.rename(aside)
    shutil.rmtree(path, ignore_errors=True)  # what is left is swept later


def lock_of(path: Path, timeout: float = -1) -> FileLock:
    """A lock between processes, held by whoever opens the file; a directory that lies there by mistake is deleted."""
    if path.is_dir():
        remove(path)
    return FileLock(path, timeout=timeout)

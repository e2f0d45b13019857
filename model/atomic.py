"""Files that are written whole or not at all, and that outlast a power cut."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

TEMPORARY = ".tmp-"
"""What half-written and half-deleted things are called until they are renamed."""


def write_file(path: Path, data: bytes) -> None:
    """Put `data` at `path` by one rename; on any failure what was there stays. One writer at a time, please: lock."""
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    try:
        temporary.write_bytes(data)
        sync(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


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
        path = path.rename(path.with_name(f"{TEMPORARY}{path.name}"))
    shutil.rmtree(path, ignore_errors=True)  # what is left is swept later

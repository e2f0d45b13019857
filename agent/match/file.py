"""A match table on disk: one file, read back without copying it into memory."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from agent.match.layout import Layout

MAGIC = b"MATCHTB1"
ALIGN = 64


def write(path: str | Path, layout: Layout, about: dict[str, Any]) -> None:
    """Write the arrays and what is to be known about them; the file appears complete or not at all.

    Format: 8 bytes of magic, the length of a JSON header (8 bytes, little endian), the header (`about`, and per array
    its dtype, length and offset), then the arrays, each on a multiple of 64 bytes.
    """
    arrays = {name: np.ascontiguousarray(getattr(layout, name)) for name in Layout._fields}
    offset, listed = 0, {}
    for name, array in arrays.items():
        listed[name] = [array.dtype.str, len(array), offset]
        offset += -(-array.nbytes // ALIGN) * ALIGN
    header = json.dumps({"about": about, "arrays": listed}).encode()
    header += b" " * (-(len(MAGIC) + 8 + len(header)) % ALIGN)
    path = Path(path)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    with partial.open("wb") as file:
        file.write(MAGIC + len(header).to_bytes(8, "little") + header)
        for array in arrays.values():
            file.write(array.tobytes())
            file.write(bytes(-array.nbytes % ALIGN))
    partial.replace(path)


def read(path: str | Path) -> tuple[Layout, dict[str, Any]]:
    """The layout, memory-mapped, and what `write` was told about it. Raises ValueError on any other file."""
    path = Path(path)
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path} is not a match table of this version: build the table again and save it")
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    start = len(MAGIC) + 8 + length
    end = start + max(offset + count * np.dtype(dtype).itemsize for dtype, count, offset in header["arrays"].values())
    if path.stat().st_size < end:
        raise ValueError(
            f"{path} is cut short: {path.stat().st_size} bytes of {end}; build the table again and save it"
        )
    # Copy on write, because compiled code takes a read-only array for another type and would be compiled again.
    whole = np.asarray(np.memmap(path, np.uint8, "c"))
    arrays = {}
    for name, (dtype, count, offset) in header["arrays"].items():
        first = start + offset
        arrays[name] = whole[first : first + count * np.dtype(dtype).itemsize].view(dtype)
    return Layout(**arrays), header["about"]

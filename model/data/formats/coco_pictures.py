"""Where the pictures of a COCO file are, whatever its exporter wrote as `file_name`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from model.data.formats.walk import is_file


def picture(name: str, places: Sequence[Path]) -> Path:
    """The file that `file_name` means: below one of the places, with its folders or without them.

    Label Studio on Windows writes `images\\\\x.png`, elsewhere addresses of its own server; CVAT and COCO write names.
    Where there is no such file: where it would be expected.
    """
    written = name.replace("\\", "/").strip()
    for given in dict.fromkeys([written, unquote(written)]):
        bare = given.rsplit("/", 1)[-1]
        for below in dict.fromkeys([given, bare]):
            for place in places:
                if below and is_file(place / below):
                    return place / below
    folder = written.rpartition("/")[0]
    return next((place for place in places if folder and (place / folder).is_dir()), places[0]) / written

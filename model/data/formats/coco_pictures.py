"""Where the pictures of a COCO file are, whatever its exporter wrote as `file_name`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from model.data.formats.walk import alike, is_file


class Pictures:
    """The pictures in some folders, found by what `file_name` says."""

    def __init__(self, places: Sequence[Path]) -> None:
        self.places = places
        self._listed: dict[Path, dict[str, list[Path]]] = {}

    def find(self, name: str) -> Path:
        """The file that `file_name` means: below one of the places, with its folders or without them.

        Label Studio on Windows writes `images\\\\x.png`, elsewhere addresses of its own server; CVAT and COCO write
        names. Where no file has exactly this name: the only one that is spelled alike. Where there is none either:
        where it would be expected.
        """
        written = name.replace("\\", "/").strip()
        given = [way for text in (written, unquote(written)) for way in (text, text.rsplit("/", 1)[-1]) if way]
        for look in (_exactly, self._alike):
            for way in dict.fromkeys(given):
                for place in self.places:
                    if found := look(place / way):
                        return found
        folder = written.rpartition("/")[0]
        beside = (place for place in self.places if folder and (place / folder).is_dir())
        return next(beside, self.places[0]) / written

    def _alike(self, path: Path) -> Path | None:
        if path.parent not in self._listed:
            listed = self._listed[path.parent] = {}
            for file in path.parent.iterdir() if _is_folder(path.parent) else ():
                listed.setdefault(alike(file.name), []).append(file)
        found = self._listed[path.parent].get(alike(path.name), [])
        return _exactly(found[0]) if len(found) == 1 else None


def _exactly(path: Path) -> Path | None:
    return path if is_file(path) else None


def _is_folder(path: Path) -> bool:
    """No for a name that no folder can have."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False

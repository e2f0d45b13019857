"""Files at an fsspec URL, by names relative to it. No file is seen half written."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from model.artefact_errors import no_bucket, told
from model.atomic import TEMPORARY

OPTIONS: dict[str, dict[str, Any]] = {
    "file": {"auto_mkdir": True},
    # s3fs tries five times itself: with botocore's five each time, an annotator would wait ten seconds for the error
    "s3": {"config_kwargs": {"connect_timeout": 5, "retries": {"total_max_attempts": 2}}},
}
"""What a file system is opened with, by the scheme of its URL."""


class Remote:
    """Files at `url`; the errors are those of `model.artefact_errors`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._opened: tuple[int, Any, str] | None = None

    def find(self, name: str) -> dict[str, int]:
        """Every file below a directory: relative name -> bytes; of a file itself the relative name is ""."""
        with self._files() as (files, root):
            path = _at(root, name)
            try:
                found = files.find(path, detail=True)
            except FileNotFoundError as error:
                if no_bucket(error):
                    raise
                return {}
            start = len(path.lstrip("/"))
            return {
                file.lstrip("/")[start:].lstrip("/"): entry["size"] if "size" in entry else files.size(file)
                for file, entry in found.items()
                if entry.get("type", "file") == "file"
            }

    def names(self, prefix: str) -> list[str]:
        """The names in a directory; none where there is no such directory."""
        with self._files() as (files, root):
            path = _at(root, prefix)
            try:
                entries = files.ls(path, detail=False)
            except FileNotFoundError as error:
                if no_bucket(error):
                    raise
                return []
            return [e.rstrip("/").rpartition("/")[2] for e in entries if e.strip("/") != path.strip("/")]

    def read(self, name: str) -> bytes | None:
        """What is in a file; None where there is none."""
        with self._files() as (files, root):
            try:
                return files.cat_file(_at(root, name))
            except FileNotFoundError as error:
                if no_bucket(error):
                    raise
                return None

    def get(self, names: Sequence[str], files_here: Sequence[Path]) -> None:
        """Download files at once. Raises FileNotFoundError where one of them is gone."""
        with self._files() as (files, root):
            files.get([_at(root, name) for name in names], [str(file) for file in files_here])

    def write(self, name: str, data: bytes) -> None:
        """Put `data` into a file."""
        with self._files() as (files, root):
            _whole(files, _at(root, name), lambda path: files.pipe_file(path, data))

    def put(self, file: Path, name: str) -> None:
        """Upload a file."""
        with self._files() as (files, root):
            _whole(files, _at(root, name), partial(files.put_file, str(file)))

    def remove(self, names: Sequence[str]) -> None:
        """Delete files."""
        if names:
            with self._files() as (files, root):
                files.rm([_at(root, name) for name in names])

    def remove_directory(self, name: str) -> None:
        """Delete a directory whose files are gone; an object store has none."""
        with self._files() as (files, root):
            if files.isdir(_at(root, name)):
                files.rm(_at(root, name), recursive=True)

    @contextmanager
    def _files(self) -> Iterator[tuple[Any, str]]:
        """The file system and the path of `url` in it, opened once a process: a fork must not use its parent's."""
        with told(self.url):
            if self._opened is None or self._opened[0] != os.getpid():
                from fsspec.core import url_to_fs  # a third of a second, and only for URLs

                options = OPTIONS.get(self.url.partition(":")[0], {})
                files, root = url_to_fs(self.url, skip_instance_cache=True, use_listings_cache=False, **options)
                self._opened = (os.getpid(), files, root.rstrip("/"))
            yield self._opened[1:]


def _at(root: str, name: str) -> str:
    return f"{root}/{name}".rstrip("/")


def _whole(files: Any, path: str, put: Callable[[str], None]) -> None:
    """Let `put` make a file that is seen whole or not at all. Object stores do so themselves, a disk does not."""
    if "file" not in files.protocol:
        put(path)
        return
    folder, _, last = path.rpartition("/")
    half = f"{folder}/{TEMPORARY}{uuid.uuid4().hex}-{last}"
    put(half)
    files.mv(half, path)

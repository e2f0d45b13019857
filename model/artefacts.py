"""The files of one installation, below a directory or an fsspec URL such as s3://bucket/prefix.

A name is relative and has slashes: "7/versions/v0003-20261122-143100/weights.pt". Below a directory, `local` is that
directory and nothing is copied. With a URL, `local` is a copy below a cache: `pull` brings files here, `push` takes
them there.

    a file             is written once, under a new name, and never changed: what is here is not fetched again
    a pointer          is a small file that is replaced (POINTERS): read anew each time, but for some seconds
    .tmp-*, *.lock     belong to whoever is writing: they stay here

In a copy, a file that is there as well bears the owner's execute bit (THERE); one without is new, and `pull` leaves it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from model.artefact_errors import ArtefactsAway, ArtefactsError
from model.atomic import TEMPORARY, contents, remove, sync, write_file
from model.remote import Remote

__all__ = ["POINTERS", "Artefacts", "ArtefactsAway", "ArtefactsError"]

log = logging.getLogger(__name__)

POINTERS = frozenset(
    {
        "published.json",
        "serving.json",
        "ranking.json",
        "head.json",
        "gain_rows.npz",
        "learned.json",
        "cycle.json",
        "checkpoint.pt",
    }
)
"""Names of files that are replaced; any other is written once."""

COMMITS = frozenset({"version.json", "plan.json", "store.json"})
"""Names of files that make a directory count: the last to come, the first to go."""

KEPT_SECONDS = 2.0  # a pointer is asked for with each request of an annotator
FORGET_SECONDS = 600.0  # what nobody asked for so long is dropped
THERE = 0o744  # the mode of a file that is known to be there; a process that rewrites one may
AT_ONCE = 64  # files copied between two lines of progress
TRIES = 3  # of what is deleted while it is fetched
STALE_SECONDS = 24 * 3600  # no download takes longer


class Artefacts:
    """Files below `url`. Safe between threads and processes; one writer a name, please: lock.

    Where the URL is wrong every method raises ArtefactsError, an OSError whose one line names the URL and what to do;
    where it does not answer now, the subclass ArtefactsAway.
    """

    def __init__(self, url: str, cache: Path) -> None:
        """`url`: a directory or an fsspec URL; `cache`: a directory for the copy of a URL, made when it is needed."""
        self.copied = "://" in url
        """whether `local` is a copy"""
        self.url = url.rstrip("/") if self.copied else url
        self.local = cache / _folder(self.url) if self.copied else Path(url)
        """where the files are worked on"""
        self._remote = Remote(self.url)
        self._kept: dict[tuple[str, str], tuple[float, Any]] = {}

    def __repr__(self) -> str:
        return f"Artefacts({self.url!r})"

    def pull(self, name: str, *, only: str | None = None) -> Path:
        """Bring a file, or all files below a directory, here; what is gone there goes here. Returns where it lies.

        Nothing may be there: then nothing is here either. A file becomes visible whole or not at all.

        Args:
            only: fetch only what this glob matches, below a directory; a `*` matches slashes too.
        """
        local = self.local / name
        if not self.copied or (local.is_file() and not _is_pointer(name)):
            return local
        for _ in range(TRIES):
            marked = [
                file for file in _files(local) if _is_marked(file)
            ]  # before we look there: they are there, or gone
            there = self._there(name)
            for file in sorted(marked, key=lambda file: _commits_last(file.name), reverse=True):
                if _relative(file, local) not in there:
                    file.unlink(missing_ok=True)
                    _drop_empty(file.parent, self.local)
            wanted = {
                _below(name, relative): size
                for relative, size in there.items()
                if (only is None or fnmatch(relative, only)) and not _is_here(local / relative, size)
            }
            with suppress(FileNotFoundError):  # deleted there since we looked
                self._fetch(wanted)
                return local
        raise ArtefactsAway(f"{self.url}/{name} changes while it is fetched; try again")

    def push(self, name: str, *, source: Path | None = None) -> None:
        """Take a file, or each file below a directory, there, unless it is there and no pointer.

        What makes a directory count goes last (COMMITS).

        Args:
            source: the file or directory to take, a `.tmp-...` beside the place of `name`; renamed to it at last.
        """
        place = self.local / name
        local = source or place
        if self.copied:
            there = self._there(name)
            files = {_below(name, _relative(file, local)): file for file in _files(local)}
            sizes = {_below(name, relative): size for relative, size in there.items()}
            news = [
                target
                for target, file in files.items()
                if _is_pointer(target) or not _is_marked(file) or sizes.get(target) != file.stat().st_size
            ]
            news.sort(key=_commits_last)
            for done, target in enumerate(news):
                _say("sending", news, done, sum(files[name].stat().st_size for name in news))
                self._remote.put(files[target], target)
            for file in files.values():
                file.chmod(THERE)
            self.forget()
        if source is not None:
            _settle(source, place, copied=self.copied)

    def write(self, name: str, data: bytes) -> None:
        """Replace one small file, whole or not at all."""
        if not self.copied:
            (self.local / name).parent.mkdir(parents=True, exist_ok=True)
            write_file(self.local / name, data)
            return
        self._remote.write(name, data)
        (self.local / name).unlink(missing_ok=True)  # what was pulled before
        self.forget()

    def read(self, name: str) -> bytes:
        """What is in a file; of a pointer below a URL, what was in it at most KEPT_SECONDS ago, or before it went away.

        Raises FileNotFoundError where there is none.
        """
        if not self.copied or not _is_pointer(name):
            return contents(self.pull(name))
        data = self._keep("read", name, self._remote.read)
        if data is None:
            raise FileNotFoundError(f"{self.url}/{name} is not there")
        return data

    def exists(self, name: str) -> bool:
        """Whether there is a file, or a directory with one; a pointer below a URL, at most KEPT_SECONDS ago."""
        if not self.copied:
            return bool(_files(self.local / name))
        if _is_pointer(name):
            return bool(self._keep("there", name, self._there))
        return bool(self._there(name))

    def names(self, prefix: str = "", *, kept: bool = False) -> list[str]:
        """The names in a directory, sorted; with `kept`, those that were there at most KEPT_SECONDS ago."""
        if not self.copied:
            directory = self.local / prefix
            names = [entry.name for entry in directory.iterdir()] if directory.is_dir() else []
        elif kept:
            names = self._keep("names", prefix, self._remote.names)
        else:
            names = self._remote.names(prefix)
        return sorted(name for name in names if not _is_ours(name))

    def remove(self, name: str) -> None:
        """Delete a file or a directory, there and here."""
        if self.copied:
            there = [_below(name, relative) for relative in self._there(name)]
            for commits in (True, False):
                self._remote.remove([one for one in there if _commits_last(one)[0] == commits])
            self._remote.remove_directory(name)
            self.forget()
        if (self.local / name).exists():
            remove(self.local / name)

    def forget(self) -> None:
        """Read pointers and names anew: for a writer, who must see what others wrote."""
        self._kept.clear()

    def _there(self, name: str) -> dict[str, int]:
        """Every file below a directory there: relative name -> bytes; of a file itself the relative name is ""."""
        found = self._remote.find(name)
        return {relative: size for relative, size in found.items() if not any(map(_is_ours, relative.split("/")))}

    def _fetch(self, wanted: dict[str, int]) -> None:
        """Download names, of so many bytes. Raises FileNotFoundError where one of them is gone."""
        if wanted:
            self._sweep()
        ordered = sorted(wanted, key=_commits_last)
        for start in range(0, len(ordered), AT_ONCE):
            _say("fetching", ordered, start, sum(wanted.values()))
            part = ordered[start : start + AT_ONCE]
            halves = [self.local / f"{TEMPORARY}{uuid.uuid4().hex}" for _ in part]
            try:
                self._remote.get(part, halves)
                for name, half in zip(part, halves, strict=True):
                    if half.stat().st_size != wanted[name] and not _is_pointer(name):
                        raise ArtefactsAway(f"{self.url}: {name} came without its last bytes; try again")
                    sync(half)
                    half.chmod(THERE)
                    _put(half, self.local / name)
            finally:
                for half in halves:
                    half.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Make the copy's directory, and remove what processes that were killed left in it."""
        self.local.mkdir(parents=True, exist_ok=True)
        for leftover in self.local.glob(f"{TEMPORARY}*"):
            with suppress(FileNotFoundError):
                if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                    remove(leftover)

    def _keep(self, kind: str, name: str, ask: Callable[[str], Any]) -> Any:
        """The answer, asked at most once in KEPT_SECONDS; while the URL is away, the last one."""
        until, answer = self._kept.get((kind, name), (0.0, None))
        if time.monotonic() >= until:
            try:
                answer = ask(name)
            except ArtefactsAway as error:
                if until == 0.0:
                    raise
                log.warning("going on with what was read before: %s", error)
            now = time.monotonic()
            for key, (end, _) in list(self._kept.items()):
                if now >= end + FORGET_SECONDS:
                    self._kept.pop(key, None)
            self._kept[kind, name] = (now + KEPT_SECONDS, answer)
        return answer


def _folder(url: str) -> str:
    """A directory for a URL's copy: one for each URL and service, and readable."""
    digest = hashlib.sha256(f"{os.environ.get('AWS_ENDPOINT_URL', '')} {url}".encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', url)[:60]}-{digest[:12]}"


def _is_ours(name: str) -> bool:
    """Whether a file stays here."""
    return name.startswith(TEMPORARY) or name.endswith(".lock")


def _is_pointer(name: str) -> bool:
    return name.rpartition("/")[2] in POINTERS


def _is_marked(file: Path) -> bool:
    """Whether a file here is known to be there."""
    try:
        return bool(file.stat().st_mode & stat.S_IXUSR)
    except FileNotFoundError:
        return False


def _is_here(file: Path, size: int) -> bool:
    try:
        return not _is_pointer(file.name) and file.stat().st_size == size
    except FileNotFoundError:
        return False


def _files(path: Path) -> list[Path]:
    """A file, or all below a directory that do not stay here."""
    try:
        entries = [entry for entry in path.iterdir() if not _is_ours(entry.name)]
    except NotADirectoryError:
        return [path]
    except FileNotFoundError:
        return []
    return [file for entry in entries for file in _files(entry)]


def _relative(file: Path, base: Path) -> str:
    return "" if file == base else file.relative_to(base).as_posix()


def _below(name: str, relative: str) -> str:
    return f"{name}/{relative}".strip("/")


def _commits_last(name: str) -> tuple[bool, str]:
    return name.rpartition("/")[2] in COMMITS, name


def _put(half: Path, file: Path) -> None:
    """Rename into a directory that another process may be deleting as empty."""
    for last in (False, True):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            half.replace(file)
            return
        except FileNotFoundError:
            if last:
                raise


def _drop_empty(directory: Path, root: Path) -> None:
    while directory != root:
        try:
            directory.rmdir()
        except OSError:  # something is in it
            return
        directory = directory.parent


def _settle(source: Path, place: Path, *, copied: bool) -> None:
    """Rename to its name. In a copy another process may have fetched parts of it by now: they are the same."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if copied and source.is_dir() and place.is_dir():
        for file in sorted(_files(source), key=lambda file: _commits_last(file.name)):
            _put(file, place / file.relative_to(source))
        shutil.rmtree(source, ignore_errors=True)
    else:
        source.rename(place)
    sync(place.parent)


def _say(doing: str, names: list[str], done: int, size: int) -> None:
    """Progress of what may take seconds."""
    if (size > 2e7 or len(names) > AT_ONCE) and done % AT_ONCE == 0:
        log.info("%s %s ...: %d of %d files, %.0f MB in all", doing, names[0], done, len(names), size / 1e6)

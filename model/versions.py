"""Model versions on disk: weights, metrics and what they were trained on; promote, roll back, prune.

    root/                        one directory a project
      .lock                      held by whoever changes anything; readers never wait
      serving.json               {"current": name, "history": [names that served before, oldest first]}
      v0003-20261122-143100/     one version: weights.pt, version.json and artefacts (ranking.json, ...)
      .tmp-...                   half-written or half-deleted; swept by the next `add`

Everything becomes visible by one rename, so a reader sees a whole version or none, and a crash or a full disk leaves
the store as it was. The lock is an `flock`, which the system releases when its holder dies.
"""

from __future__ import annotations

import builtins
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from model.atomic import TEMPORARY, remove, sync, write_file
from model.version import META, WEIGHTS, Version

if TYPE_CHECKING:  # looking at versions needs no array library
    from model.detectors.base import Detector

log = logging.getLogger(__name__)

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
SERVING = "serving.json"
LOCK_SECONDS = 300.0  # longer than any save; a holder that dies frees the lock at once


class VersionError(KeyError):
    """A version, or an artefact of one, that is not there; the message says what is."""

    def __str__(self) -> str:  # KeyError would show the message in quotes
        return str(self.args[0])


class VersionStore:
    """The versions of one project below `root`, which the first write creates. Safe between threads and processes."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def add(
        self,
        detector: Detector,
        *,
        metrics: dict[str, Any] | None,
        label_map: dict[str, str],
        fingerprint: str,
        parent: str | None,
        images: int,
        note: str = "",
        name: str | None = None,
    ) -> Version:
        """Save a detector as the newest version; it does not serve before `promote`.

        Raises:
            ValueError: `name` is not fit for a directory.
            VersionError: `name` is taken.
            OSError, RuntimeError: the weights could not be written (torch raises the latter when the disk is full).
        """
        if name is not None:
            _check_name(name)
        with self._locked():
            for leftover in self.root.glob(f"{TEMPORARY}*"):  # of a crash: while we hold the lock nobody writes
                remove(leftover)
            numbers = [int(digits[1]) for p in self.root.iterdir() if (digits := re.match(r"v(\d+)-", p.name))]
            number = 1 + max([*numbers, *(v.number for v in self.list())], default=0)
            now = datetime.now(UTC)
            name = name or f"v{number:04d}-{now:%Y%m%d-%H%M%S}"
            if (self.root / name).exists():
                raise VersionError(f"version {name!r} exists already; give another name, or none")
            directory = self.root / f"{TEMPORARY}{name}"
            version = Version(
                name=name,
                metrics=metrics,
                names=tuple(detector.names),
                label_map=dict(label_map),
                fingerprint=fingerprint,
                parent=parent,
                created=now.isoformat(timespec="seconds"),
                images=images,
                note=note,
                number=number,
                path=self.root / name,
            )
            try:
                directory.mkdir()
                detector.save(directory / WEIGHTS)
                sync(directory / WEIGHTS)
                write_file(directory / META, version.to_json())
                directory.rename(version.path)
            except BaseException:
                remove(directory)
                raise
            sync(self.root)
        return version

    def add_first(self, detector: Detector, label_map: dict[str, str], note: str = "") -> Version:
        """Save what a project starts from, which nobody trained on its labels, and let it serve."""
        version = self.add(
            detector, metrics=None, label_map=label_map, fingerprint="", parent=None, images=0, note=note
        )
        return self.promote(version.name)

    def list(self) -> list[Version]:
        """Every readable version, oldest first; a damaged one is left out with a warning in the log."""
        if not self.root.is_dir():
            return []
        versions = [Version.read(p) for p in self.root.iterdir() if p.is_dir() and NAME.fullmatch(p.name)]
        return sorted((v for v in versions if v is not None), key=lambda v: (v.number, v.name))

    def get(self, name: str) -> Version:
        """One version. Raises VersionError, naming the known ones, when there is none of that name."""
        version = Version.read(self.root / name) if NAME.fullmatch(name) else None
        if version is None:
            names = ", ".join(v.name for v in self.list()) or "none yet"
            raise VersionError(f"no version {name!r} in {self.root}; there are: {names}")
        return version

    def serving(self) -> Version | None:
        """The promoted version. Where its files are damaged, the newest readable one that served before it."""
        current, history = self._state()
        for name in [current, *reversed(history)]:
            if name is not None and (version := Version.read(self.root / name)) is not None:
                if name != current:
                    log.warning("version %s cannot be read: %s serves instead", current, name)
                return version
        return None

    def promote(self, name: str) -> Version:
        """Make a version the serving one."""
        with self._locked():
            version = self.get(name)
            current, history = self._state()
            if name != current:
                self._write_state(name, history if current is None else [*history, current])
        return version

    def roll_back(self) -> Version:
        """Make the version serve again that served before this one; done twice, it goes back two.

        Raises VersionError when nothing served before.
        """
        with self._locked():
            current, history = self._state()
            before = self._before(current, history)
            if before is None:
                raise VersionError(f"no version served before {current!r}; promote one by name instead")
            version = self.get(history[before])
            self._write_state(version.name, history[:before])
        return version

    def prune(self, keep: int) -> builtins.list[str]:
        """Delete all but the newest `keep` versions; the serving one and the one before it stay too.

        Returns the names deleted, oldest first. Raises ValueError when `keep` is under 1.
        """
        if keep < 1:
            raise ValueError(f"keep {keep}: at least 1, the newest version")
        with self._locked():
            current, history = self._state()
            before = self._before(current, history)
            in_use = {current, None if before is None else history[before]}
            surplus = {v.name: v.path for v in self.list()[:-keep] if v.name not in in_use}
            self._write_state(current, [name for name in history if name not in surplus])
            for path in surplus.values():
                remove(path)
        return list(surplus)

    def write(self, name: str, artefact: str, data: bytes) -> Path:
        """Put a file beside a version's weights, all of it or nothing, and return its path."""
        _check_artefact(artefact)
        with self._locked():
            path = self.get(name).path / artefact
            write_file(path, data)
        return path

    def read(self, name: str, artefact: str) -> bytes:
        """What `write` put there. Raises VersionError where there is no such artefact."""
        _check_artefact(artefact)
        try:
            return (self.get(name).path / artefact).read_bytes()
        except FileNotFoundError:
            raise VersionError(f"version {name!r} has no artefact {artefact!r}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.root / ".lock", timeout=LOCK_SECONDS):
                yield
        except Timeout:
            raise TimeoutError(f"{self.root} has been locked for {LOCK_SECONDS:.0f} s; is a writer hanging?") from None

    def _state(self) -> tuple[str | None, builtins.list[str]]:
        """(the serving version, those that served before it, oldest first)."""
        try:
            state = json.loads((self.root / SERVING).read_bytes())
            return state["current"], list(state["history"])
        except FileNotFoundError:
            return None, []
        except (ValueError, KeyError, TypeError) as error:
            log.warning("%s is damaged, so no version serves until one is promoted: %r", self.root / SERVING, error)
            return None, []

    def _write_state(self, current: str | None, history: builtins.list[str]) -> None:
        write_file(self.root / SERVING, json.dumps({"current": current, "history": history}).encode())

    def _before(self, current: str | None, history: builtins.list[str]) -> int | None:
        """Index in `history` of the version to roll back to."""
        for index in reversed(range(len(history))):
            if history[index] != current and Version.read(self.root / history[index]) is not None:
                return index
        return None


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or name == SERVING:
        raise ValueError(f"version name {name!r}: up to 100 letters, digits, '.', '_' and '-', the first no sign")


def _check_artefact(artefact: str) -> None:
    if not NAME.fullmatch(artefact) or artefact in (WEIGHTS, META):
        raise ValueError(
            f"artefact {artefact!r}: up to 100 letters, digits, '.', '_' and '-', the first no sign, "
            f"and not {WEIGHTS} or {META}"
        )

"""Model versions on disk: weights, metrics and what they were trained on; promote, roll back, prune.

    root/                        one directory a project
      .lock                      held by whoever changes anything; readers never wait
      serving.json               {"current": name, "history": [names that served before, oldest first]}
      v0003-20261122-143100/     one version: weights.pt, version.json and artefacts (ranking.json, ...)
      .tmp-...                   half-written or half-deleted; swept by the next `add`

Everything becomes visible by one rename, so a reader sees a whole version or none, and a crash or a full disk leaves
the store as it was. The lock is an `flock`, which the system releases when its holder dies. What is damaged all the
same (version.json holds the weights' digest) is left out: the version that served before serves instead.

With `artefacts` below a URL, `root` is a copy of what is there: version.json is written there last and makes a version
visible, and weights are fetched when they are asked for. The lock then holds on one machine only: the caller sees to it
that a project has one writer.
"""

from __future__ import annotations

import builtins
import json
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import Timeout

from model.artefacts import Artefacts
from model.atomic import TEMPORARY, lock_of, remove, sync, write_file
from model.damage import DamagedError, reading, warn
from model.version import META, REMEDY, WEIGHTS, Version, digest_of

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

    def __init__(self, root: str | Path, artefacts: Artefacts | None = None) -> None:
        """`artefacts`: what `root` is a directory of (`root` lies below `artefacts.local`), where that may be a URL."""
        self.root = Path(root)
        self.artefacts = artefacts or Artefacts(str(root), self.root)
        self._prefix = "" if artefacts is None else f"{self.root.relative_to(artefacts.local).as_posix()}/"

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
        thresholds: dict[str, float] | None = None,
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
            self._sweep()
            numbers = [int(digits[1]) for p in self.root.iterdir() if (digits := re.match(r"v(\d+)-", p.name))]
            number = 1 + max([*numbers, *(v.number for v in self.list())], default=0)
            now = datetime.now(UTC)
            name = name or f"v{number:04d}-{now:%Y%m%d-%H%M%S}"
            if self.artefacts.exists(self._at(name)):
                raise VersionError(f"version {name!r} exists already; give another name, or none")
            directory = self.root / f"{TEMPORARY}{name}"
            try:
                directory.mkdir()
                detector.save(directory / WEIGHTS)
                sync(directory / WEIGHTS)
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
                    digest=digest_of(directory / WEIGHTS),
                    thresholds=dict(thresholds or {}),
                    fetch=self._fetch(name),
                )
                write_file(directory / META, version.to_json())
                self.artefacts.push(self._at(name), source=directory)
            except BaseException:
                remove(directory)
                raise
        return version

    def add_first(self, detector: Detector, label_map: dict[str, str], note: str = "") -> Version:
        """Save what a project starts from, which nobody trained on its labels, and let it serve."""
        version = self.add(
            detector, metrics=None, label_map=label_map, fingerprint="", parent=None, images=0, note=note
        )
        return self.promote(version.name)

    def list(self) -> list[Version]:
        """Every readable version, oldest first; a damaged one is left out with a warning in the log."""
        self._pull()
        if not self.root.is_dir():
            return []
        versions = [Version.read(directory, self._fetch(directory.name)) for directory in self._directories()]
        return sorted((v for v in versions if v is not None), key=lambda v: (v.number, v.name))

    def get(self, name: str) -> Version:
        """One version. Raises VersionError, naming the known ones, when there is none of that name."""
        version = self._version(name)
        if version is None:
            names = ", ".join(v.name for v in self.list()) or "none yet"
            damaged = [line for line in self.damages() if name and f"/{name}/" in line]
            raise VersionError(f"{(*damaged, f'no version {name!r} in {self.root}')[0]}; there are: {names}")
        return version

    def untrained(self) -> Version | None:
        """What the project started from, which nobody trained on its labels; it is never pruned."""
        return _untrained(self.list())

    def serving(self) -> Version | None:
        """The promoted version. Where it is damaged, the newest one that served before it and is not."""
        current, history = self._state()
        for name in [current, *reversed(history)]:
            if name is not None and (version := self._sound(name)) is not None:
                if name != current:
                    warn(f"version {current} cannot be read: {name} serves instead")
                return version
        return None

    def named(self) -> str | None:
        """The name of the promoted version, damaged or not; None where none was promoted, or that was lost."""
        return self._state()[0]

    def previous(self) -> str | None:
        """The name of the version that served before the promoted one, damaged or not; None where none did."""
        current, history = self._state()
        return next((name for name in reversed(history) if name != current), None)

    def lost(self) -> bool:
        """Whether there are versions, but nothing tells which of them serves."""
        return self._state()[0] is None and bool(self._directories())

    def trained(self) -> bool:
        """Whether there is a version that was trained; one whose version.json is damaged may be."""
        versions = self.list()
        return len(self._directories()) > len(versions) or any(v.parent is not None for v in versions)

    def restore(self, served: Sequence[str]) -> Version | None:
        """Let the last of the versions `served` serve that is not damaged; of those that served, oldest first.

        For a serving.json that is lost. Returns None, and changes nothing, where all of them are damaged.
        """
        with self._locked():
            sound = [name for name in dict.fromkeys(reversed(served)) if self._sound(name) is not None]
            if not sound:
                return None
            name, *before = sound
            if self._state()[0] is None:
                self._write_state(name, before[::-1])
                warn(f"{self.root / SERVING} was lost or damaged: {name} serves, which annotators were shown last")
        return self.serving()

    def damages(self) -> Iterator[str]:
        """A line for each damaged file that a version or the promotion needs: which it is, and what to do."""
        try:
            self._read_state()
        except DamagedError as error:
            yield str(error)
        except FileNotFoundError:
            if self._directories():
                yield f"{self.root / SERVING} is missing: {_LOST}"
        for directory in self._directories():
            try:
                Version.open(directory, self._fetch(directory.name)).check()
            except FileNotFoundError:
                if not self.artefacts.copied:
                    yield f"{directory / META} is missing: {REMEDY}"
            except DamagedError as error:
                yield str(error)

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
        """Delete all but the newest `keep` versions; the serving one, the one before it and the untrained one stay too.

        Returns the names deleted, oldest first. Raises ValueError when `keep` is under 1.
        """
        if keep < 1:
            raise ValueError(f"keep {keep}: at least 1, the newest version")
        with self._locked():
            try:
                current, history = self._read_state()
            except FileNotFoundError:
                current, history = None, []
            except DamagedError:  # the one that is to serve might be among them
                return []
            before = self._before(current, history)
            versions = self.list()
            start = _untrained(versions)
            in_use = {current, None if before is None else history[before], start and start.name}
            surplus = [v.name for v in versions[:-keep] if v.name not in in_use]
            self._write_state(current, [name for name in history if name not in surplus])
            for name in surplus:
                self.artefacts.remove(self._at(name))
        return surplus

    def write(self, name: str, artefact: str, data: bytes) -> Path:
        """Put a file beside a version's weights, all of it or nothing, and return its path.

        Below a URL other machines see it replaced only where it is one of `artefacts.POINTERS`.
        """
        _check_artefact(artefact)
        with self._locked():
            self.get(name)
            self.artefacts.write(self._at(f"{name}/{artefact}"), data)
            return self.artefacts.pull(self._at(f"{name}/{artefact}"))

    def read(self, name: str, artefact: str) -> bytes:
        """What `write` put there. Raises VersionError where there is no such artefact."""
        _check_artefact(artefact)
        try:
            return self.artefacts.read(self._at(f"{self.get(name).name}/{artefact}"))
        except FileNotFoundError:
            raise VersionError(f"version {name!r} has no artefact {artefact!r}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with lock_of(self.root / ".lock", LOCK_SECONDS):
                self.artefacts.forget()
                yield
        except Timeout:
            raise TimeoutError(f"{self.root} has been locked for {LOCK_SECONDS:.0f} s; is a writer hanging?") from None

    def _at(self, name: str) -> str:
        """The artefact's name of a file below `root`."""
        return f"{self._prefix}{name}"

    def _pull(self) -> None:
        """Let the copy show the versions that there are."""
        self.artefacts.pull(self._prefix.rstrip("/"), only=f"*/{META}")

    def _fetch(self, name: str) -> Callable[[], object] | None:
        """Brings a version's weights here."""
        return partial(self.artefacts.pull, self._at(f"{name}/{WEIGHTS}")) if self.artefacts.copied else None

    def _version(self, name: str) -> Version | None:
        if not NAME.fullmatch(name):
            return None
        self.artefacts.pull(self._at(f"{name}/{META}"))
        return Version.read(self.root / name, self._fetch(name))

    def _sound(self, name: str) -> Version | None:
        """The version, unless it is damaged."""
        version = self._version(name)
        try:
            if version is not None:
                version.check()
        except DamagedError as error:
            warn(str(error))
            return None
        return version

    def _directories(self) -> builtins.list[Path]:
        """What are versions, or should be; a copy shows what was pulled."""
        if not self.root.is_dir():
            return []
        return sorted(p for p in self.root.iterdir() if p.is_dir() and NAME.fullmatch(p.name) and p.name != SERVING)

    def _sweep(self) -> None:
        """Remove what a crash left: while we hold the lock nobody writes."""
        for leftover in self.root.glob(f"{TEMPORARY}*"):
            remove(leftover)
        if self.artefacts.copied:
            self._pull()
            for name in self.artefacts.names(self._prefix.rstrip("/")):
                if name != SERVING and not (self.root / name / META).exists():
                    self.artefacts.remove(self._at(name))

    def _state(self) -> tuple[str | None, builtins.list[str]]:
        """(the serving version, those that served before it, oldest first)."""
        try:
            return self._read_state()
        except FileNotFoundError:
            return None, []
        except DamagedError as error:
            warn(str(error))
            return None, []

    def _read_state(self) -> tuple[str | None, builtins.list[str]]:
        with reading(self.root / SERVING, _LOST):
            state = json.loads(self.artefacts.read(self._at(SERVING)))
            current, history = state["current"], state["history"]
            if not isinstance(history, list) or not all(isinstance(name, str) for name in [current or "", *history]):
                raise ValueError("a name that is none")
            return current, history

    def _write_state(self, current: str | None, history: builtins.list[str]) -> None:
        self.artefacts.write(self._at(SERVING), json.dumps({"current": current, "history": history}).encode())

    def _before(self, current: str | None, history: builtins.list[str]) -> int | None:
        """Index in `history` of the version to roll back to."""
        for index in reversed(range(len(history))):
            if history[index] != current and self._sound(history[index]) is not None:
                return index
        return None


_LOST = (
    "the version that annotators were shown last serves with the next job; `mgral versions PROJECT --promote VERSION` "
    "chooses another"
)


def _untrained(versions: builtins.list[Version]) -> Version | None:
    return next((v for v in versions if v.images == 0 and v.parent is None), None)


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name) or name == SERVING:
        raise ValueError(f"version name {name!r}: up to 100 letters, digits, '.', '_' and '-', the first no sign")


def _check_artefact(artefact: str) -> None:
    if not NAME.fullmatch(artefact) or artefact in (WEIGHTS, META):
        raise ValueError(
            f"artefact {artefact!r}: up to 100 letters, digits, '.', '_' and '-', the first no sign, "
            f"and not {WEIGHTS} or {META}"
        )

"""One model version: what is known about it, and its directory with `weights.pt` and `version.json`."""

from __future__ import annotations

import dataclasses
import json
import logging
import zipfile
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from functools import lru_cache
from hashlib import file_digest
from pathlib import Path
from typing import Any

from model.atomic import contents, remove
from model.damage import SIGNS, DamagedError, reading

log = logging.getLogger(__name__)

WEIGHTS, META = "weights.pt", "version.json"
OF_DIRECTORY = ("name", "path")  # what the directory tells, so that version.json need not
REMEDY = "bring the directory back from a backup, or delete it and let another version serve: `mgral versions PROJECT`"


@dataclass(frozen=True)
class Version:
    """One trained detector.

    Attributes:
        name: unique in its store; also the `model_version` that Label Studio shows.
        metrics: `Metrics.to_dict()` on the holdout; None where there was nothing to hold out.
        names: the detector's class names.
        label_map: class name of the detector -> label of the project, as `Detections.renamed` takes it.
        fingerprint: `Dataset.fingerprint()` of the data it saw.
        parent: the version that it was fine-tuned from.
        created: UTC, ISO 8601.
        images: how many images it was trained on.
        note: "" or why it was not promoted.
        number: 1, 2, ... in the order of creation.
        path: its directory.
        digest: SHA-256 of the weights' file, in hex; "" in versions of earlier releases.
        thresholds: class name of the detector -> the score from which on its boxes are shown (`model.thresholds`); none
            where nobody trained it, and in versions of earlier releases.
        fetch: brings `weights` here from elsewhere; None where they lie here.
    """

    name: str
    metrics: dict[str, Any] | None
    names: tuple[str, ...]
    label_map: dict[str, str]
    fingerprint: str
    parent: str | None
    created: str
    images: int
    note: str
    number: int
    path: Path
    digest: str = ""
    thresholds: dict[str, float] = field(default_factory=dict)
    fetch: InitVar[Callable[[], object] | None] = None

    def __post_init__(self, fetch: Callable[[], object] | None) -> None:
        object.__setattr__(self, "_fetch", fetch)  # no field: it says nothing about the version

    @property
    def weights(self) -> Path:
        """The file for `open_detector`, fetched where MODEL_DIR is a URL and nobody here asked before."""
        file = self.path / WEIGHTS
        fetch: Callable[[], object] | None = self.__dict__["_fetch"]
        if fetch is not None:
            if file.exists() and self._harm():  # a copy: there is another one
                log.warning("%s is damaged, and fetched again", file)
                remove(file)
            if not file.exists():
                fetch()
        return file

    def check(self) -> None:
        """Raise DamagedError where the weights are not those that were saved; what was not fetched yet is not read."""
        fetched = self.__dict__["_fetch"] is None or (self.path / WEIGHTS).exists()
        if fetched and (harm := self._harm()):
            raise DamagedError(f"{self.path / WEIGHTS} is damaged ({harm}): {REMEDY}")

    def _harm(self) -> str:
        """What is wrong with the weights' file that is here, "" where nothing is."""
        try:
            about = (self.path / WEIGHTS).stat()
        except FileNotFoundError:
            return "it is not there"
        return _harm(self.path / WEIGHTS, self.digest, about.st_size, about.st_mtime_ns, about.st_ino)

    @classmethod
    def read(cls, directory: Path, fetch: Callable[[], object] | None = None) -> Version | None:
        """The version in a directory; None where there is none, or, with a warning in the log, where it is damaged.

        With `fetch` the directory need not hold the weights yet.
        """
        try:
            return cls.open(directory, fetch)
        except (DamagedError, OSError) as error:
            incomplete = fetch is not None and isinstance(error, FileNotFoundError)  # being written, fetched or deleted
            if directory.is_dir() and not incomplete:  # otherwise it was never there, or was pruned a moment ago
                log.warning("version %s is damaged and left out (%s): %s", directory.name, directory, error)
            return None

    @classmethod
    def open(cls, directory: Path, fetch: Callable[[], object] | None = None) -> Version:
        """The version in a directory. Raises FileNotFoundError, and DamagedError with a line for people.

        What is in the weights is not looked at: see `check`.
        """
        with reading(directory / META, REMEDY):
            entries = {"digest": "", "thresholds": {}} | json.loads(contents(directory / META))
            fields = [f for f in dataclasses.fields(cls) if f.name not in (*OF_DIRECTORY, "names")]
            version = cls(
                name=directory.name,
                path=directory,
                fetch=fetch,
                names=tuple(entries["names"]),
                **{field.name: entries[field.name] for field in fields},
            )
            if wrong := [name for name, kinds in KINDS.items() if not isinstance(getattr(version, name), kinds)]:
                raise ValueError(f"a wrong value of {', '.join(wrong)}")
        if fetch is None and not (directory / WEIGHTS).is_file():
            raise DamagedError(f"{directory / WEIGHTS} is damaged (there is no such file): {REMEDY}")
        return version

    def to_json(self) -> bytes:
        """What `read` reads from version.json."""
        entries = {name: value for name, value in dataclasses.asdict(self).items() if name not in OF_DIRECTORY}
        return json.dumps(entries, indent=1).encode()


KINDS: dict[str, Any] = {
    "metrics": dict | None,
    "label_map": dict,
    "fingerprint": str,
    "parent": str | None,
    "created": str,
    "images": int,
    "note": str,
    "number": int,
    "digest": str,
    "thresholds": dict,
}
"""What the fields of version.json may be."""


def digest_of(file: Path) -> str:
    """SHA-256 of a file, in hex."""
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


@lru_cache(maxsize=64)
def _harm(file: Path, digest: str, *_: int) -> str:
    """What is wrong with a weights' file; looked at again where its size, time or inode is another.

    Where no digest was kept, the checksums tell that torch writes into its files, which are ZIP archives.
    """
    if not file.is_file():
        return "it is no file"
    if digest:
        return "" if digest_of(file) == digest else "it is not what was saved: its SHA-256 is another"
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
    except SIGNS as error:
        return f"it is no file of torch: {error}"
    return f"{broken} in it has another checksum" if broken else ""

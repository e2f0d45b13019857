"""One model version: what is known about it, and its directory with `weights.pt` and `version.json`."""

from __future__ import annotations

import dataclasses
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

WEIGHTS, META = "weights.pt", "version.json"
OF_DIRECTORY = ("name", "path")  # what the directory tells, so that version.json need not


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

    @property
    def weights(self) -> Path:
        """The file for `open_detector`."""
        return self.path / WEIGHTS

    @classmethod
    def read(cls, directory: Path) -> Version | None:
        """The version in a directory; None where there is none, or, with a warning in the log, where it is damaged."""
        fields = [f.name for f in dataclasses.fields(cls) if f.name not in (*OF_DIRECTORY, "names")]
        try:
            entries = json.loads((directory / META).read_bytes())
            version = cls(
                name=directory.name,
                path=directory,
                names=tuple(entries["names"]),
                **{field: entries[field] for field in fields},
            )
            if not (version.weights.is_file() and isinstance(version.number, int)):
                raise ValueError(f"no {WEIGHTS}, or a number that is none")
        except (OSError, ValueError, KeyError, TypeError) as error:
            if directory.is_dir():  # otherwise it was never there, or was pruned a moment ago
                log.warning("version %s is damaged and left out (%s): %r", directory.name, directory, error)
            return None
        return version

    def to_json(self) -> bytes:
        """What `read` reads from version.json."""
        entries = {name: value for name, value in dataclasses.asdict(self).items() if name not in OF_DIRECTORY}
        return json.dumps(entries, indent=1).encode()

"""Which versions cross-fitting called better or worse than their parents: a small file a version, which stays when the
version is pruned.

MODEL_DIR/<project>/cross_fitting/<version>.json
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from model.artefacts import Artefacts
from model.damage import DamagedError, reading, warn

FOLDER = "cross_fitting"


@dataclass(frozen=True)
class Verdict:
    """What cross-fitting says of a version.

    Attributes:
        version: its name.
        word: better, worse or undecided, beside the version's parent.
        sentence: the same for people, with the figures.
    """

    version: str
    word: str
    sentence: str


def keep(files: Artefacts, project: int, verdict: Verdict) -> None:
    """Write it down."""
    files.write(f"{project}/{FOLDER}/{verdict.version}.json", json.dumps(asdict(verdict)).encode())


def verdicts(files: Artefacts, project: int) -> dict[str, Verdict]:
    """Version -> what is known of it; of most versions nothing is."""
    found: dict[str, Verdict] = {}
    for name in files.names(f"{project}/{FOLDER}"):
        if not name.endswith(".json"):
            continue
        try:
            with reading(files.local / f"{project}/{FOLDER}/{name}", "the pages are without its verdict"):
                one = Verdict(**json.loads(files.read(f"{project}/{FOLDER}/{name}")))
                if not all(isinstance(value, str) for value in asdict(one).values()):
                    raise TypeError("a wrong value")
                found[one.version] = one
        except FileNotFoundError:  # deleted a moment ago
            continue
        except DamagedError as error:
            warn(str(error))
    return found

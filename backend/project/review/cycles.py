"""What each training of a project gave: a small file a version, which stays when the version itself is pruned.

MODEL_DIR/<project>/curve/<version>.json
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from agent.learning import Learned
from agent.strategies.past import Past, evidence
from backend.project.published import RANKING, Publication
from model.artefacts import Artefacts
from model.damage import DamagedError, reading, warn
from model.version import Version
from model.versions import VersionError, VersionStore

FOLDER = "curve"


@dataclass(frozen=True)
class Batch:
    """The batch that the order before a training asked to label, and what became of it.

    Attributes:
        strategy: whose batch it was.
        estimate: (ΔmAP, its standard deviation over the refits) of labeling it; None where nobody estimated it.
        size: tasks in it.
        labeled: of these, how many were labeled when the training began.
        others: tasks that were labeled since, and are not of the batch.
        random: ΔmAP that was estimated of a random batch; None where nobody estimated it.
    """

    strategy: str
    estimate: tuple[float, float] | None
    size: int
    labeled: int
    others: int
    random: float | None = None


@dataclass(frozen=True)
class Trained:
    """One training.

    Attributes:
        version: its name; `parent`: of the one that served before.
        created: UTC, ISO 8601.
        images, boxes: that it learned from and was measured on; `boxes` is None in what is read off a version alone.
        map, map_error, held_out: on the holdout; None, and 0, without one.
        gain: (ΔmAP, standard error) over the parent on the same holdout.
        promoted: whether it was to serve.
        minutes: of annotators, by Label Studio's clock, for all annotations that count; None where it is not known.
        batch: which led to it.
    """

    version: str
    parent: str | None
    created: str
    images: int
    boxes: int | None
    map: float | None
    map_error: float | None
    held_out: int
    gain: tuple[float, float] | None
    promoted: bool
    minutes: float | None = None
    batch: Batch | None = None

    @classmethod
    def of(cls, learned: Learned, boxes: int, minutes: float | None, batch: Batch | None) -> Trained:
        """What a training gave."""
        version, metrics = learned.version, learned.metrics
        known = None if metrics is None or metrics.map < 0 else metrics.map
        error = None if metrics is None else metrics.map_error
        return cls(
            version.name,
            version.parent,
            version.created,
            version.images,
            boxes,
            known,
            error,
            learned.held_out,
            learned.gain,
            learned.promote,
            minutes,
            batch,
        )

    @classmethod
    def read_off(cls, version: Version) -> Trained:
        """What a version of an earlier release tells."""
        metrics = version.metrics or {}
        value = metrics.get("map")
        return cls(
            version.name,
            version.parent,
            version.created,
            version.images,
            None,
            value if isinstance(value, int | float) and value >= 0 else None,
            metrics.get("map_error"),
            images if isinstance(images := metrics.get("images"), int) else 0,
            None,
            not version.note.startswith("kept, not promoted"),
        )

    @classmethod
    def of_json(cls, body: Mapping[str, Any]) -> Trained:
        """What `asdict` gave."""
        held = {field.name: body[field.name] for field in fields(cls)}
        if not all(isinstance(held[name], str) for name in ("version", "created")):
            raise TypeError("a wrong value")
        held["gain"] = _pair(held["gain"])
        if batch := held["batch"]:
            held["batch"] = Batch(**batch | {"estimate": _pair(batch["estimate"])})
        return cls(**held)


def keep(files: Artefacts, project: int, trained: Trained) -> None:
    """Write it down."""
    files.write(f"{project}/{FOLDER}/{trained.version}.json", json.dumps(asdict(trained)).encode())


def trainings(files: Artefacts, project: int, store: VersionStore) -> list[Trained]:
    """Every training that is known, oldest first: what was kept, and the versions that nobody wrote down."""
    found = {version.name: Trained.read_off(version) for version in store.list() if version.parent is not None}
    for name in files.names(f"{project}/{FOLDER}"):
        if not name.endswith(".json"):
            continue
        try:
            with reading(files.local / f"{project}/{FOLDER}/{name}", "the curve is without it"):
                one = Trained.of_json(json.loads(files.read(f"{project}/{FOLDER}/{name}")))
                found[one.version] = one
        except FileNotFoundError:  # deleted a moment ago
            continue
        except DamagedError as error:
            warn(str(error))
    return sorted(found.values(), key=lambda one: (one.created, one.version))


def batch_of(store: VersionStore, live: Publication | None, labeled: Collection[int]) -> Batch | None:
    """The batch of the order that is live, and how far `labeled` (tasks) follow it; None where there is none."""
    if live is None:
        return None
    try:
        with reading(store.root / live.version / RANKING, "the curve is without its estimate"):
            try:
                record = json.loads(store.read(live.version, RANKING))
            except VersionError:  # a KeyError, which would count as damage
                return None
            order, budget = list(map(int, record["order"])), int(record["budget"])
            gains = record.get("gains") or {}
            held, at_random = (gains.get(name) for name in (record["strategy"], "random"))
            estimate = (float(held[0]), float(held[1])) if held else None
            random = float(at_random[0]) if at_random else None
    except DamagedError as error:
        warn(str(error))
        return None
    chosen, known = set(order[:budget]), set(labeled)
    rest = _common(order[budget:], known)
    return Batch(str(record["strategy"]), estimate, len(chosen), len(chosen & known), rest, random)


def past_of(trained: Iterable[Trained]) -> tuple[Past, ...]:
    """What is evidence of whose batches bring what: trainings whose new labels are mostly those of one batch, which is
    mostly labeled, measured on as many images as a gain can be known on."""
    past = []
    for one in trained:
        batch = one.batch
        if batch is None or 2 * batch.labeled < batch.size or batch.others > batch.labeled:
            continue
        if told := evidence(batch.strategy, one.gain, one.held_out, batch.random):
            past.append(told)
    return tuple(past)


def _pair(held: Any) -> tuple[float, float] | None:
    """A figure and its error. Raises ValueError, TypeError where it is neither these nor nothing."""
    if not held:
        return None
    value, error = map(float, held)
    return value, error


def _common(tasks: Iterable[int], known: set[int]) -> int:
    return sum(task in known for task in tasks)

"""Learning from the labels: a new version, and whether it is to serve."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agent.match.scores import Delta
from agent.match_table import MatchTable
from model.atomic import remove, write_file
from model.data.dataset import Dataset
from model.detectors.base import Detector, FitConfig
from model.detectors.open import open_detector
from model.evaluate import Metrics, detect, evaluate
from model.progress import Report, Watch
from model.versions import Version, VersionError, VersionStore

log = logging.getLogger(__name__)

TRAINED_ON = "trained_on.json"
KEPT = "learned.json"


@dataclass(frozen=True)
class Learned:
    """What training gave.

    Attributes:
        version: the new version, stored whether or not it is to serve.
        detector: its detector.
        promote: whether it should serve.
        metrics, before: on the same holdout, of the new and of the serving version; None without a holdout.
        reason: one sentence for people.
        seconds, updates: what training took.
        earlier: the detector that served before and the ids it was trained on, where these are known.
        gain: (ΔmAP, standard error) over the serving version on the same holdout; None without a holdout.
    """

    version: Version
    detector: Detector
    promote: bool
    metrics: Metrics | None
    before: Metrics | None
    reason: str
    seconds: float
    updates: int
    earlier: tuple[Detector, frozenset[int]] | None
    gain: tuple[float, float] | None


def learn(
    folder: Path,
    store: VersionStore,
    serving: Version,
    detector: Detector,
    labeled: Dataset,
    fit: FitConfig,
    watch: Watch,
    start: Detector | None = None,
) -> Learned:
    """Train a copy of the serving detector on the labels, score both on the holdout, and store the new version.

    A model that is worse than the serving one is stored but should not serve. What was done before a crash is kept in
    `folder` and not done again, for the same labels and `fit`; of another cycle everything but the pictures is removed
    from the folder.

    Args:
        start: trained instead of the serving detector where it is given.

    Raises:
        ValueError: there is no box to learn from.
    """
    key = hashlib.sha256(f"{labeled.fingerprint()} {fit}".encode()).hexdigest()
    if (before_crash := _recall(folder, key, store)) is not None:
        return before_crash
    for path in folder.iterdir():
        if path.name != "images":
            remove(path)
    train, holdout = labeled.holdout()
    comparable = bool(train.boxes and holdout.boxes)
    log.info("training on %d images, holdout of %d", len(train), len(holdout))
    learning = train if comparable else labeled
    began = time.monotonic()
    student = (start or detector).fit(learning, fit, report=partial(watch, "train"))
    seconds = time.monotonic() - began
    labels = {name: name for name in labeled.names}
    metrics = before = delta = None
    if comparable:
        metrics, table = _score(student, labels, holdout, partial(watch, "evaluate"))
        before, other = _score(detector, serving.label_map, holdout, partial(watch, "evaluate the serving model"))
        delta = table.delta(other, rng=fit.seed)
    promote, reason = decide(metrics, before, delta)
    version = store.add(
        student,
        metrics=metrics.to_dict() if metrics else None,
        label_map=labels,
        fingerprint=labeled.fingerprint(),
        parent=serving.name,
        images=len(labeled),
        note=reason,
    )
    store.write(version.name, TRAINED_ON, json.dumps([image.id for image in learning.images]).encode())
    updates = fit.passes(len(learning)) * -(-len(learning) // fit.batch)
    learned = Learned(
        version,
        student,
        promote,
        metrics,
        before,
        reason,
        seconds,
        updates,
        trained_on(store, serving, detector),
        (delta.map.value, delta.map.error) if delta else None,
    )
    _keep(folder, key, serving, learned)
    return learned


def trained_on(store: VersionStore, version: Version, detector: Detector) -> tuple[Detector, frozenset[int]] | None:
    """The version's detector and the ids it was trained on; None where they are not known."""
    try:
        return detector, frozenset(json.loads(store.read(version.name, TRAINED_ON)))
    except VersionError:
        return None


def decide(new: Metrics | None, serving: Metrics | None, delta: Delta | None) -> tuple[bool, str]:
    """(promote, why): the new model serves unless its mAP on the same holdout is lower.

    It is called better only where the whole paired interval of the difference says so.
    """
    if new is None or serving is None or delta is None:
        return True, "promoted without comparison: too few labeled images to hold some out; label more to compare"
    comparison = (
        f"mAP {new.map:.3f}, the serving model has {max(serving.map, 0):.3f}; difference {delta.map.value:+.3f}, 95 % "
        f"[{delta.map.low:+.3f}, {delta.map.high:+.3f}] (holdout: {new.images} images, {new.boxes} boxes)"
    )
    if delta.map.value < 0:
        worse = "worse" if delta.worse else "worse, if not surely"
        return False, f"kept, not promoted, because it is {worse}: {comparison}"
    return True, f"promoted, {'better' if delta.better else 'not surely better'}: {comparison}"


def _recall(folder: Path, key: str, store: VersionStore) -> Learned | None:
    """What `_keep` kept under the same key; None where there is nothing, or its versions are gone."""
    try:
        body = json.loads((folder / KEPT).read_bytes())
        if body.pop("key") != key:
            return None
        version, before = store.get(body.pop("version")), store.get(body.pop("serving"))
    except (FileNotFoundError, VersionError):
        return None
    log.info("version %s was trained before the cycle was interrupted: going on with it", version.name)
    return Learned(
        version=version,
        detector=open_detector(version.weights),
        metrics=Metrics(**version.metrics) if version.metrics else None,
        before=Metrics(**body.pop("before")) if body["before"] else body.pop("before"),
        earlier=trained_on(store, before, open_detector(before.weights)),
        gain=tuple(body.pop("gain")) if body["gain"] else body.pop("gain"),
        **body,
    )


def _keep(folder: Path, key: str, serving: Version, learned: Learned) -> None:
    """Write down what training gave, beside what the version itself holds."""
    body = {
        "key": key,
        "version": learned.version.name,
        "serving": serving.name,
        "promote": learned.promote,
        "before": learned.before.to_dict() if learned.before else None,
        "reason": learned.reason,
        "seconds": learned.seconds,
        "updates": learned.updates,
        "gain": learned.gain,
    }
    write_file(folder / KEPT, json.dumps(body).encode())


def _score(
    detector: Detector, label_map: dict[str, str], holdout: Dataset, report: Report
) -> tuple[Metrics, MatchTable]:
    """pycocotools' figures with the bootstrap's interval, and the match table behind it."""
    detections = detect(detector, holdout, label_map, report)
    table = MatchTable.from_dataset(holdout, detections)
    spread = table.bootstrap(rng=0).map
    metrics = replace(evaluate(holdout, detections), map_error=spread.error, map_interval=(spread.low, spread.high))
    return metrics, table

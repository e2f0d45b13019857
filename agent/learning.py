"""Learning from the labels: a new version, and whether it is to serve."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from agent.holdout import FEWEST_BOXES, FEWEST_IMAGES, FEWEST_OF_CLASS, Holdout, images_of_classes
from agent.holdout import FILE as HOLDOUT
from agent.match.scores import Delta
from agent.match_table import MatchTable
from model.atomic import remove, sync, write_file
from model.damage import DamagedError, reading, warn
from model.data.dataset import Dataset
from model.data.detections import Detections
from model.detectors.base import Detector, FitConfig
from model.detectors.open import open_detector
from model.evaluate import Metrics, detect, evaluate
from model.progress import Report, Watch
from model.thresholds import USUAL, Costs, learn_thresholds
from model.versions import Version, VersionError, VersionStore

log = logging.getLogger(__name__)

TRAINED_ON = "trained_on.json"
KEPT = "learned.json"
KEY = "key"  # which labels and `fit` the files of the folder belong to
TRAINED, SECONDS = "trained.pt", "trained.json"  # a training that is over and not yet scored


@dataclass(frozen=True)
class Learned:
    """What training gave.

    Attributes:
        version: the new version, stored whether or not it is to serve.
        detector: its detector.
        promote: whether it should serve.
        metrics, before: on the same holdout, of the new and of the serving version; None without a holdout.
        reason: one sentence for people.
        seconds, updates: what training took, over all parts of one that was interrupted.
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

    @property
    def held_out(self) -> int:
        """Images of the holdout; 0 without one."""
        return self.metrics.images if self.metrics else 0

    @property
    def error(self) -> float | None:
        """Standard error of the gain; None where the holdout is too small for the bootstrap to know it: on three images
        a model that finds nothing before and after has a gain of 0 ± 0."""
        return self.gain[1] if self.gain and self.metrics and enough(self.metrics) else None


def learn(
    folder: Path,
    store: VersionStore,
    serving: Version,
    detector: Detector,
    labeled: Dataset,
    fit: FitConfig,
    watch: Watch,
    start: Detector | None = None,
    remark: str = "",
    costs: Costs | None = None,
) -> Learned:
    """Train a copy of the serving detector on the labels, score both on the holdout, and store the new version.

    A model that is worse than the serving one is stored but should not serve. What was done before a crash or an
    interruption is kept in `folder` and not done again, for the same labels and `fit`; of another cycle everything but
    the pictures is removed from the folder.

    Args:
        start: trained instead of the serving detector where it is given.
        remark: what people are to know of the labels; it is put behind the reason, and so into the version's note.
        costs: of annotators' corrections, by which the version's thresholds are chosen.

    Raises:
        ValueError: there is no box to learn from.
        TrainingError: the training ended in something that is no number; nothing is stored.
    """
    key = key_of(labeled, fit)
    if (before_crash := _recall(folder, key, store)) is not None:
        return before_crash
    claim(folder, labeled, fit)
    rest, holdout = labeled.holdout()
    comparable = bool(rest.boxes and holdout.boxes)
    log.info("training on %d images, holdout of %d", len(rest), len(holdout))
    learning = rest if comparable else labeled
    student, seconds = train(folder, start or detector, learning, fit, partial(watch, "train"))
    labels = {name: name for name in labeled.names}
    metrics = before = delta = None
    thresholds = dict.fromkeys(labeled.names, USUAL)
    if comparable:
        metrics, table, found = _score(student, labels, holdout, partial(watch, "evaluate"))
        if enough(metrics):
            thresholds = learn_thresholds(holdout, found, costs)
        before, other, old = _score(detector, serving.label_map, holdout, partial(watch, "evaluate the serving model"))
        delta = table.delta(other, rng=fit.seed)
    promote, reason = decide(metrics, before, delta)
    reason = f"{reason}; {remark}" if remark else reason
    version = store.add(
        student,
        metrics=metrics.to_dict() if metrics else None,
        label_map=labels,
        fingerprint=labeled.fingerprint(),
        parent=serving.name,
        images=len(labeled),
        note=reason,
        thresholds=thresholds,
    )
    if comparable:
        store.write(version.name, HOLDOUT, Holdout(holdout, found, old).to_bytes())
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


def key_of(labeled: Dataset, fit: FitConfig) -> str:
    """64 hex digits that change with what is learned from, and with how."""
    return hashlib.sha256(f"{labeled.fingerprint()} {fit}".encode()).hexdigest()


def recall(folder: Path, store: VersionStore) -> Learned:
    """What `learn` gave that ended in this folder.

    Raises:
        FileNotFoundError: none ended here.
        VersionError: a version that it speaks of is gone.
        DamagedError: the file cannot be read, or the weights of a version.
    """
    with reading(folder / KEPT, "start the training again"):
        body = json.loads((folder / KEPT).read_bytes())
        del body["key"]
        names = body.pop("version"), body.pop("serving")
        about: dict[str, Any] = {
            "before": Metrics(**body.pop("before")) if body["before"] else body.pop("before"),
            "gain": tuple(map(float, body.pop("gain"))) if body["gain"] else body.pop("gain"),
            **body,
        }
        if not all(isinstance(name, str) for name in names) or not isinstance(about["promote"], bool):
            raise TypeError("a wrong value")
    version, before = (store.get(name) for name in names)
    version.check()
    return Learned(
        version=version,
        detector=open_detector(version.weights),
        metrics=Metrics(**version.metrics) if version.metrics else None,
        earlier=trained_on(store, before, open_detector(before.weights)),
        **about,
    )


def trained_on(store: VersionStore, version: Version, detector: Detector) -> tuple[Detector, frozenset[int]] | None:
    """The version's detector and the ids it was trained on; None where they are not known."""
    try:
        with reading(version.path / TRAINED_ON, "hindsight starts from a training of its own"):
            return detector, frozenset(map(int, json.loads(store.read(version.name, TRAINED_ON))))
    except DamagedError as error:
        if (version.path / TRAINED_ON).exists():
            warn(str(error))
        return None


def decide(new: Metrics | None, serving: Metrics | None, delta: Delta | None) -> tuple[bool, str]:
    """(promote, why): the new model serves unless its mAP on the same holdout is lower.

    It is called better only where the whole paired interval of the difference says so, on FEWEST_IMAGES and
    FEWEST_BOXES or more.
    """
    if new is not None and not math.isfinite(new.map):
        return False, "kept, not promoted, because its mAP is no number: train again with another SEED"
    if new is None or serving is None or delta is None:
        return True, "promoted without comparison: too few labeled images to hold some out; label more to compare"
    sure = enough(new)
    interval = f", 95 % [{delta.map.low:+.3f}, {delta.map.high:+.3f}]" if sure else ""
    comparison = (
        f"mAP {new.map:.3f}, the serving model has {max(serving.map, 0):.3f}; difference {delta.map.value:+.3f}"
        f"{interval} (holdout: {new.images} images, {new.boxes} boxes)"
    )
    if not math.isfinite(delta.map.value):
        return False, f"kept, not promoted, because the difference is no number: {comparison}"
    if not sure:
        comparison += f"; {FEWEST_IMAGES} images and {FEWEST_BOXES} boxes are needed to be sure"
    if delta.map.value < 0:
        worse = "worse" if delta.worse and sure else "worse, if not surely"
        return False, f"kept, not promoted, because it is {worse}: {comparison}"
    return True, f"promoted, {'better' if delta.better and sure else 'not surely better'}: {comparison}"


def enough(metrics: Metrics) -> bool:
    """Whether the holdout behind the figures is large enough to tell anything."""
    return metrics.images >= FEWEST_IMAGES and metrics.boxes >= FEWEST_BOXES


def claim(folder: Path, labeled: Dataset, fit: FitConfig) -> None:
    """Make the folder that of the cycle which learns from `labeled`: of another one nothing but the pictures stays."""
    file, key = folder / KEY, key_of(labeled, fit)
    if file.is_file() and file.read_bytes() == key.encode():
        return
    for path in folder.iterdir():
        if path.name != "images":
            remove(path)
    write_file(file, key.encode())


def train(folder: Path, start: Detector, data: Dataset, fit: FitConfig, report: Report) -> tuple[Detector, float]:
    """The trained detector and the seconds it took; what the folder holds of it is not done again.

    Raises:
        ValueError: there is no box to learn from.
        TrainingError: the training ended in something that is no number.
    """
    weights, seconds = folder / TRAINED, folder / SECONDS
    if seconds.exists():  # written last
        try:
            with reading(weights, "the training is done again"):
                return open_detector(weights), float(json.loads(seconds.read_bytes()))
        except (DamagedError, FileNotFoundError) as error:
            log.warning("%s", error)
            remove(seconds)
    remove(weights)
    student = start.fit(data, fit, report=report, checkpoint=folder / "checkpoint.pt")
    student.save(weights)
    sync(weights)
    write_file(seconds, json.dumps(student.fit_seconds).encode())
    return student, student.fit_seconds


def _recall(folder: Path, key: str, store: VersionStore) -> Learned | None:
    """What `_keep` kept under the same key; None where there is nothing, or its versions are gone."""
    try:
        with reading(folder / KEPT, "the training is scored again"):
            if json.loads((folder / KEPT).read_bytes())["key"] != key:
                return None
        learned = recall(folder, store)
    except (FileNotFoundError, VersionError):
        return None
    except DamagedError as error:
        log.warning("%s", error)
        return None
    log.info("version %s was trained before the cycle was interrupted: going on with it", learned.version.name)
    return learned


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
) -> tuple[Metrics, MatchTable, list[Detections]]:
    """pycocotools' figures, with the bootstrap's intervals where it can know them; the match table and the detections
    behind it."""
    detections = detect(detector, holdout, label_map, report)
    table = MatchTable.from_dataset(holdout, detections)
    metrics = evaluate(holdout, detections)
    if not enough(metrics):
        return metrics, table, detections
    spread = table.bootstrap(rng=0)
    shown = images_of_classes(holdout)
    classes = {
        holdout.names[k]: (one.low, one.high)
        for k, one in spread.per_class.items()
        if math.isfinite(one.low) and shown[holdout.names[k]] >= FEWEST_OF_CLASS
    }
    metrics = replace(
        metrics,
        map_error=spread.map.error,
        map_interval=(spread.map.low, spread.map.high),
        class_intervals=classes,
    )
    return metrics, table, detections

"""One active-learning cycle: learn from the labels, decide which model serves, order what is unlabeled.

Knows neither Label Studio nor the queue: pictures come from callables, progress goes to `watch`, the detections of
every image go to `keep_detections`. Nothing it does is seen by users before its caller publishes the result.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from agent import strategies
from agent.gain_rows import Rows
from agent.match_scores import Delta
from agent.match_table import MatchTable
from agent.planning import Fetch, PlanConfig, look_back, make_plan
from agent.pool import Pool
from agent.pool_store import PoolStore
from agent.strategies import Ranking
from agent.strategies.mgral import Mgral, MgralConfig
from agent.variants import Plan
from model.atomic import remove, write_file
from model.dataset import Dataset
from model.detections import Detections
from model.detector import Detector, FitConfig, Picture, open_detector
from model.evaluate import Metrics, evaluate
from model.progress import Report
from model.versions import Version, VersionError, VersionStore

log = logging.getLogger(__name__)

Watch = Callable[..., None]  # watch(step, done, total, **figures): `Report` with the name of the step before it
TRAINED_ON = "trained_on.json"
SHARE_OF_TRAINING = 1.5  # of the training's time that the inner loop takes by default: a cycle is to stay under three
COLD = "kmeanspp"  # coverage: what can be said of an order before anything is labeled


@dataclass(frozen=True)
class CycleConfig:
    """How a cycle trains and ranks."""

    fit: FitConfig = field(default_factory=FitConfig)
    strategy: str = "mgral"
    budget: int = 50
    seed: int = 0
    plan: PlanConfig = field(default_factory=PlanConfig)
    seconds: float = 0.0
    """that the inner loop may take on one worker; 0: SHARE_OF_TRAINING of what training took"""
    agent: MgralConfig = field(default_factory=MgralConfig)
    """how the agent learns, where the strategy is mgral"""


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
    store: VersionStore,
    serving: Version,
    detector: Detector,
    labeled: Dataset,
    config: CycleConfig,
    watch: Watch,
    start: Detector | None = None,
) -> Learned:
    """Train a copy of the serving detector on the labels, score both on the holdout, and store the new version.

    A model that is worse than the serving one is stored but should not serve. `start` is trained instead of the serving
    detector where it is given. Raises ValueError where there is no box to learn from.
    """
    train, holdout = labeled.holdout()
    possible = has_boxes(train) and has_boxes(holdout)
    log.info("training on %d images, holdout of %d", len(train), len(holdout))
    learning = train if possible else labeled
    began = time.monotonic()
    student = (start or detector).fit(learning, config.fit, report=partial(watch, "train"))
    seconds = time.monotonic() - began
    labels = {name: name for name in labeled.names}
    metrics = before = delta = None
    if possible:
        metrics, table = _score(student, labels, holdout, partial(watch, "evaluate"))
        before, other = _score(detector, serving.label_map, holdout, partial(watch, "evaluate the serving model"))
        delta = table.delta(other, rng=config.seed)
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
    updates = config.fit.passes(len(learning)) * -(-len(learning) // config.fit.batch)
    return Learned(
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


def learn_once(
    folder: Path,
    store: VersionStore,
    serving: Version,
    detector: Detector,
    labeled: Dataset,
    config: CycleConfig,
    watch: Watch,
    start: Detector | None = None,
) -> Learned:
    """`learn`, or what it gave before a crash: kept in `folder`, for the same labels and settings.

    Of another cycle everything but the pictures is removed from the folder.
    """
    kept = folder / "learned.json"
    key = hashlib.sha256(f"{labeled.fingerprint()} {config}".encode()).hexdigest()
    try:
        body = json.loads(kept.read_bytes())
        if body.pop("key") == key:
            version, before = store.get(body.pop("version")), store.get(body.pop("serving"))
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
    except (FileNotFoundError, VersionError):
        pass
    for path in folder.iterdir():
        if path.name != "images":
            remove(path)
    learned = learn(store, serving, detector, labeled, config, watch, start)
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
    write_file(kept, json.dumps(body).encode())
    return learned


def trained_on(store: VersionStore, version: Version, detector: Detector) -> tuple[Detector, frozenset[int]] | None:
    """The version's detector and the ids it was trained on; None where they are not known."""
    try:
        return detector, frozenset(json.loads(store.read(version.name, TRAINED_ON)))
    except VersionError:
        return None


def has_boxes(dataset: Dataset) -> bool:
    """Whether anything in the data set can be learned from or scored against."""
    return any(len(image.class_ids) for image in dataset.images)


def decide(new: Metrics | None, serving: Metrics | None, delta: Delta | None) -> tuple[bool, str]:
    """(promote, why): the new model serves unless its mAP on the same holdout is lower.

    It is called better only where the whole paired interval of the difference says so.
    """
    if new is None or serving is None or delta is None:
        return True, "promoted without comparison: too few labeled images to hold some out; label more to compare"
    held = (
        f"mAP {new.map:.3f}, the serving model has {max(serving.map, 0):.3f}; difference {delta.map.value:+.3f}, 95 % "
        f"[{delta.map.low:+.3f}, {delta.map.high:+.3f}] (holdout: {new.images} images, {new.boxes} boxes)"
    )
    if delta.map.value < 0:
        return False, f"kept, not promoted, because it is {'worse' if delta.worse else 'worse, if not surely'}: {held}"
    return True, f"promoted, {'better' if delta.better else 'not surely better'}: {held}"


def look(
    store: PoolStore,
    detector: Detector,
    fingerprint: str,
    images: Sequence[tuple[int, str]],
    pictures: Callable[[list[int]], Iterable[tuple[int, Picture]]],
    labeled: set[int],
    metrics: Metrics | None,
    config: CycleConfig,
    watch: Watch,
    keep: Callable[[int, Detections], None],
    flush: Callable[[], None],
) -> Pool:
    """Let the detector see what it has not seen, and return the unlabeled images as a pool beside the labeled ones.

    `images` are all (id, content key); the other arguments as in `PoolStore.scan`.
    """
    seen = store.scan(
        detector,
        fingerprint,
        images,
        pictures,
        on_detections=keep,
        before_commit=flush,
        batch=config.fit.batch,
        report=partial(watch, "scan"),
    )
    watch("scan", 1, 1)
    ap = [metrics.per_class.get(name, -1.0) if metrics else -1.0 for name in detector.names]
    return store.pool(
        [image for image in seen if image not in labeled],
        [image for image in seen if image in labeled],
        np.array(ap),
        detector.names,
    )


def prepare(
    folder: Path,
    labeled: Dataset,
    pool: Pool,
    serving: Detector,
    learned: Learned,
    untrained: Detector,
    fetch: Fetch,
    config: CycleConfig,
    watch: Watch,
) -> Plan:
    """The inner loop of a cycle: which variants are to be trained before the pool can be ranked.

    A plan that was finished before a crash is taken up again.

    Args:
        folder: holds the labeled images in `images/`.
        serving: the detector that is to serve.
        untrained: what a project's first training starts from.
    """
    try:
        return Plan.load(folder)
    except FileNotFoundError:
        pass
    seconds = config.seconds or SHARE_OF_TRAINING * learned.seconds
    measured = config.plan.within(seconds, learned.seconds / max(learned.updates, 1))
    train = labeled.holdout()[0] if has_boxes(labeled.holdout()[0]) else labeled
    hindsight = None
    if measured.hindsight:
        hindsight = look_back(train, untrained, learned.earlier, config.fit, partial(watch, "hindsight"))
    cycle = learned.version.number
    return make_plan(folder, labeled, pool, serving, hindsight, learned.gain, fetch, config.budget, measured, cycle)


def rank(pool: Pool, rows: Rows, cycle: int, config: CycleConfig, watch: Watch) -> Ranking:
    """Put the pool into the order of `config.strategy`; what was measured is for mgral.

    Where nothing is labeled the caller should ask for `COLD`.
    """
    watch("rank", 0, 1)
    strategy = strategies.get(config.strategy)
    if isinstance(strategy, Mgral):
        strategy = Mgral(rows, cycle, config.agent, report=partial(watch, "rank"))
    ranking = strategy.rank(pool, min(config.budget, len(pool)), np.random.default_rng(config.seed))
    watch("rank", 1, 1)
    return ranking


def _score(
    detector: Detector, label_map: dict[str, str], holdout: Dataset, report: Report
) -> tuple[Metrics, MatchTable]:
    """pycocotools' figures with the bootstrap's interval, and the match table behind it."""
    raw = detector.predict([image.path for image in holdout.images], report=report)
    found = [f.renamed(detector.names, label_map, holdout.names) for f in raw]
    table = MatchTable.from_dataset(holdout, found)
    spread = table.bootstrap(rng=0).map
    metrics = replace(evaluate(holdout, found), map_error=spread.error, map_interval=(spread.low, spread.high))
    return metrics, table

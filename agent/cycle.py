"""One active-learning cycle: learn from the labels, decide which model serves, order what is unlabeled.

Knows neither Label Studio nor the queue: pictures come from callables, progress goes to `watch`, the detections of
every image go to `keep_detections`. Nothing it does is seen by users before its caller publishes the result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from agent import strategies
from agent.match_scores import Delta
from agent.match_table import MatchTable
from agent.pool import Pool
from agent.strategies import Ranking
from model.dataset import Dataset
from model.detections import Detections
from model.detector import Detector, FitConfig, Picture
from model.evaluate import Metrics, evaluate
from model.progress import Report
from model.versions import Version, VersionStore

log = logging.getLogger(__name__)

Watch = Callable[..., None]  # watch(step, done, total, **figures): `Report` with the name of the step before it
Stream = Callable[[], Iterable[tuple[int, Picture]]]
COLD = "kmeanspp"  # coverage: what can be said of an order before anything is labeled


@dataclass(frozen=True)
class CycleConfig:
    """How a cycle trains and ranks."""

    fit: FitConfig = field(default_factory=FitConfig)
    strategy: str = "two_stage"
    budget: int = 50
    seed: int = 0


@dataclass(frozen=True)
class Learned:
    """What training gave.

    Attributes:
        version: the new version, stored whether or not it is to serve.
        detector: its detector.
        promote: whether it should serve.
        metrics, before: on the same holdout, of the new and of the serving version; None without a holdout.
        reason: one sentence for people.
    """

    version: Version
    detector: Detector
    promote: bool
    metrics: Metrics | None
    before: Metrics | None
    reason: str


def learn(
    store: VersionStore,
    serving: Version,
    detector: Detector,
    labeled: Dataset,
    config: CycleConfig,
    watch: Watch,
) -> Learned:
    """Train a copy of the serving detector on the labels, score both on the holdout, and store the new version.

    A model that is worse than the serving one is stored but should not serve. Raises ValueError where there is no box
    to learn from.
    """
    train, holdout = labeled.holdout()
    possible = has_boxes(train) and has_boxes(holdout)
    log.info("training on %d images, holdout of %d", len(train), len(holdout))
    student = detector.fit(train if possible else labeled, config.fit, report=partial(watch, "train"))
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
    return Learned(version, student, promote, metrics, before, reason)


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


def order(
    detector: Detector,
    metrics: Metrics | None,
    labeled: Stream,
    unlabeled: Stream,
    counts: tuple[int, int],
    config: CycleConfig,
    watch: Watch,
    keep_detections: Callable[[int, Detections], None],
) -> Ranking:
    """Look at every image once and rank the unlabeled ones by `config.strategy`.

    `counts` is (labeled, unlabeled), for the progress. Where nothing is labeled the caller should ask for `COLD`.
    """
    encodings = []
    total = sum(counts)

    def seen(pictures: Iterable[tuple[int, Picture]]) -> Iterator[tuple[Detections, np.ndarray]]:
        ids: list[int] = []

        def remember() -> Iterator[Picture]:
            for image_id, picture in pictures:
                ids.append(image_id)
                yield picture

        for position, found in enumerate(detector.scan(remember(), batch=config.fit.batch)):
            keep_detections(ids[position], found[0])
            yield found

    for _, encoding in seen(labeled()):
        encodings.append(encoding)
        watch("scan", len(encodings), total)
    ap = [metrics.per_class.get(name, -1.0) if metrics else -1.0 for name in detector.names]
    pool = Pool.scan(
        detector,
        unlabeled(),
        labeled_encodings=np.stack(encodings) if encodings else np.zeros((0, 0), np.float32),
        class_ap=np.array(ap),
        on_detections=keep_detections,
        batch=config.fit.batch,
        total=counts[1],
        report=_offset(partial(watch, "scan"), counts[0], total),
    )
    watch("rank", 0, 1)
    strategy = strategies.get(config.strategy)
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


def _offset(report: Report, start: int, whole: int) -> Report:
    def shifted(done: int, total: int, **figures: float) -> None:  # noqa: ARG001  the whole is known better here
        report(start + done, whole, **figures)

    return shifted

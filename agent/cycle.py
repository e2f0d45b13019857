"""One active-learning cycle, after the learning: look at the pool, measure what batches gain, order what is unlabeled.

Knows neither Label Studio nor the queue: pictures come from callables, progress goes to `watch`, the detections of
every image go to `keep`. Nothing it does is seen by users before its caller publishes the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from agent import strategies
from agent.gain.rows import Rows
from agent.inner_loop.plan import Plan
from agent.inner_loop.planning import Fetch, PlanConfig, look_back, make_plan
from agent.learning import Learned, has_boxes
from agent.pool.pool import Pool
from agent.pool.store import PoolStore
from agent.strategies import Ranking
from agent.strategies.mgral import Mgral, MgralConfig
from model.data.dataset import Dataset
from model.data.detections import Detections
from model.detectors.base import Detector, FitConfig, Picture
from model.evaluate import Metrics
from model.progress import Watch

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

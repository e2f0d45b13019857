"""One active-learning cycle, after the learning: look at the pool, measure what batches gain, order what is unlabeled.

Knows neither Label Studio nor the queue: pictures come from `Images`, progress goes to a `Watch`, the detections of
every image go to a `DetectionSink`. Nothing it does is seen by users before its caller publishes the result.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from agent import strategies
from agent.gain.rows import Rows
from agent.inner_loop.hindsight import Hindsight, look_back
from agent.inner_loop.plan import Plan
from agent.inner_loop.planning import PlanConfig, Planner
from agent.learning import Learned
from agent.pool.images import DetectionSink, Images
from agent.pool.pool import Pool
from agent.pool.store import Encoder, PoolStore
from agent.strategies import Ranking
from agent.strategies.mgral import Mgral, MgralConfig
from model.damage import DamagedError
from model.data.dataset import Dataset
from model.detectors.base import Detector, FitConfig
from model.evaluate import Metrics
from model.progress import Watch

SHARE_OF_TRAINING = 1.5  # of the training's time that the inner loop takes by default: a cycle is to stay under three
START = "start.pt"  # where hindsight starts
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
class Cycle:
    """A cycle on one project's images: look at them, and plan what is measured before they are ranked.

    Attributes:
        images: all of the project.
        watch: told how far each stage is.
    """

    images: Images
    config: CycleConfig
    watch: Watch

    def look(
        self,
        store: PoolStore,
        encoder: Encoder,
        labeled: Set[int],
        metrics: Metrics | None,
        sink: DetectionSink | None = None,
    ) -> Pool:
        """Let the encoder see what it has not seen, and return the unlabeled images as a pool beside the labeled ones.

        Args:
            store: holds what was seen before.
            labeled: ids of the images that are labeled already.
            metrics: of the encoder's detector on the holdout, where they are known.
            sink: gets the detections of every image that is looked at.
        """
        store.scan(encoder, self.images, sink, batch=self.config.fit.batch, report=partial(self.watch, "scan"))
        self.watch("scan", 1, 1)
        return pool_of(store, self.images, labeled, metrics, encoder.detector.names)

    def look_back(
        self,
        folder: Path,
        labeled: Dataset,
        earlier: tuple[Detector, frozenset[int]] | None,
        untrained: Detector,
    ) -> Hindsight | None:
        """Where hindsight starts, or None where it is not asked for or too little is labeled.

        It needs nothing of this cycle's training, so another worker may do it meanwhile; what is trained for it is kept
        in the folder.

        Args:
            earlier: the detector that served when the cycle began, and the ids that it was trained on, where known.
            untrained: what a project's first training starts from.
        """
        if not self.config.plan.hindsight:
            return None
        train, _ = labeled.holdout()
        data, report = train if train.boxes else labeled, partial(self.watch, "hindsight")
        return look_back(data, untrained, earlier, self.config.fit, report, folder / START)

    def plan(
        self,
        folder: Path,
        labeled: Dataset,
        pool: Pool,
        serving: Detector,
        learned: Learned,
        hindsight: Hindsight | None,
    ) -> Plan:
        """The inner loop: which variants are to be trained before the pool can be ranked.

        A plan that was finished before a crash is taken up again, unless it is damaged.

        Args:
            folder: holds the labeled images in `images/`.
            serving: the detector that is to serve.
            hindsight: what `look_back` gave.
        """
        with suppress(FileNotFoundError, DamagedError):
            return Plan.load(folder)
        seconds = self.config.seconds or SHARE_OF_TRAINING * learned.seconds
        config = self.config.plan.within(seconds, learned.seconds / max(learned.updates, 1))
        planner = Planner(folder, self.images, config, self.config.budget, learned.version.number)
        return planner.plan(labeled, pool, serving, hindsight, learned.gain)


def pool_of(store: PoolStore, images: Images, labeled: Set[int], metrics: Metrics | None, names: Sequence[str]) -> Pool:
    """The unlabeled images that a store describes, as a pool beside the labeled ones; the others are left out.

    Args:
        labeled: ids of the images that are labeled already.
        metrics: of the detector that saw the images, on the holdout, where they are known.
        names: that detector's classes.
    """
    listed = images.keys()
    described = [image for (image, _), known in zip(listed, store.describes(listed), strict=True) if known]
    return store.pool(
        [image for image in described if image not in labeled],
        [image for image in described if image in labeled],
        np.array([metrics.per_class.get(name, -1.0) if metrics else -1.0 for name in names]),
        names,
    )


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

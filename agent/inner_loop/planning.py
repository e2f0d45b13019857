"""What the inner loop is to measure for a ranking: which batches, from which start, on which images.

Hindsight: labeled images play the pool. From a detector that has not seen some of them, batches of those are added with
their true boxes. The detector is the one that served while they were chosen; before there is one, it is trained on half
of the labeled images. Surrogates: batches of the real pool, which have no boxes, are added to the detector that is to
serve.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from agent.inner_loop.hindsight import FEWEST, Hindsight
from agent.inner_loop.plan import HINDSIGHT, SURROGATE, Described, Group, Past, Plan, SurrogateConfig, Variant
from agent.inner_loop.proposals import Proposal, propose
from agent.inner_loop.worth import not_worth
from agent.pool.images import Images
from agent.pool.phi import describe_pool
from agent.pool.pool import Pool
from model.data.dataset import Dataset, LabeledImage
from model.data.images import displayed_size
from model.detectors.base import Detector

BACKGROUND = 256  # unlabeled images beside which those that play the pool are described


@dataclass(frozen=True)
class PlanConfig:
    """How much the inner loop may measure."""

    hindsight: int = 8
    """batches of labeled images"""
    surrogates: int = 0
    """batches of the pool"""
    training: SurrogateConfig = field(default_factory=SurrogateConfig)
    always: bool = False
    """whether batches are measured also where that can hardly tell one from another"""

    def why_not(self, held_out: int, error: float | None = None) -> str:
        """Why nothing is to be measured, empty where it is: see `agent.inner_loop.worth.not_worth`."""
        return "" if self.always else not_worth(held_out, error)

    def within(self, seconds: float, seconds_per_update: float) -> PlanConfig:
        """As many variants as fit into `seconds`, in the same proportion; each control costs one of them.

        A group that would be left with less than two batches is left out: one batch has nothing to be compared with.
        """
        each = seconds_per_update * self.training.steps * 1.2  # a fifth for the measurements
        affordable = seconds / each if each > 0 else math.inf
        hindsight, surrogates = self.hindsight, self.surrogates
        while cost(hindsight) + cost(surrogates) > affordable:
            if surrogates * self.hindsight >= hindsight * self.surrogates and surrogates:
                surrogates = surrogates - 1 if surrogates > 2 else 0
            elif hindsight:
                hindsight = hindsight - 1 if hindsight > 2 else 0
            else:
                break
        return replace(self, hindsight=hindsight, surrogates=surrogates)


def cost(batches: int) -> int:
    """Trainings that a group of so many batches takes, its control included."""
    return batches + 1 if batches else 0


@dataclass(frozen=True)
class Planner:
    """Chooses the batches that a cycle measures, and writes down all that is needed to measure them.

    Attributes:
        folder: where the plan goes; the files of the labeled images are in `folder / "images"` already.
        images: of the project; the files of unlabeled ones are asked for.
        config: how many batches, and how they are trained.
        budget: images that the ranking's batch will have.
        cycle: the number of the cycle.
    """

    folder: Path
    images: Images
    config: PlanConfig
    budget: int
    cycle: int

    def plan(
        self,
        labeled: Dataset,
        pool: Pool,
        serving: Detector,
        hindsight: Hindsight | None,
        gain: tuple[float, float] | None,
    ) -> Plan:
        """Put everything that a worker needs into the folder, and return the plan.

        Args:
            labeled: all labeled images.
            pool: the unlabeled images as `serving` sees them.
            gain: (ΔmAP, standard error) of the last training over the detector that served before.
        """
        rng = np.random.default_rng([self.config.training.seed, self.cycle])
        train, holdout = labeled.holdout()
        background = [int(k) for k in rng.permutation(pool.ids)[:BACKGROUND]]
        comparable = bool(holdout.boxes) and len(holdout) >= FEWEST
        proposals = []
        if comparable and len(pool) > self.budget:
            proposals = propose(pool, self.config.surrogates, self.budget, rng)
        needed = set(background if hindsight and self.config.hindsight else [])
        needed |= {int(pool.ids[row]) for proposal in proposals for row in proposal.rows}
        unlabeled = self._fetch(sorted(needed))
        everything = Dataset(labeled.images + tuple(unlabeled.values()), labeled.names)

        measurements = []
        if hindsight is not None and self.config.hindsight:
            beside = [image for image in background if image in unlabeled]
            measurements.append(self._hindsight(hindsight, everything, holdout, beside, rng))
        if proposals:
            measurements.append(self._surrogates(proposals, pool, serving, train, holdout, set(unlabeled)))
        past = None
        if gain is not None and hindsight is not None and hindsight.served and self.config.hindsight:
            past = Past(hindsight.fresh, *gain)
        groups = {m.name: m.group for m in measurements}
        variants = [variant for m in measurements for variant in m.variants]
        plan = Plan(self.folder, groups, variants, self.cycle, past)
        plan.save(everything, {m.name: m.start for m in measurements}, {m.name: m.described for m in measurements})
        return plan

    def _hindsight(
        self, hindsight: Hindsight, data: Dataset, holdout: Dataset, background: list[int], rng: np.random.Generator
    ) -> _Measurements:
        """Batches of labeled images that play the pool, with their true boxes."""
        players = hindsight.pool(data, holdout, background)
        rows = np.flatnonzero(np.isin(players.ids, hindsight.fresh))
        fresh = players.take(rows)
        batches = propose(fresh, self.config.hindsight, max(2, len(fresh) // 2), rng)
        evaluation = tuple(image.id for image in holdout.images) + hindsight.fresh
        return _Measurements(
            HINDSIGHT,
            Group(hindsight.learned, evaluation, self.config.training),
            hindsight.detector,
            Described.of(players, describe_pool(players), rows, data.subset(hindsight.learned)),
            [Variant(HINDSIGHT, b.kind, tuple(int(k) for k in fresh.ids[b.rows])) for b in batches],
        )

    def _surrogates(
        self,
        proposals: list[Proposal],
        pool: Pool,
        serving: Detector,
        train: Dataset,
        holdout: Dataset,
        readable: set[int],
    ) -> _Measurements:
        """Batches of the pool, with the boxes that the detector itself finds."""
        rows = np.unique(np.concatenate([proposal.rows for proposal in proposals]))
        batches = [(b.kind, tuple(k for k in pool.ids[b.rows].tolist() if k in readable)) for b in proposals]
        ids = tuple(image.id for image in train.images), tuple(image.id for image in holdout.images)
        return _Measurements(
            SURROGATE,
            Group(*ids, self.config.training),
            serving,
            Described.of(pool, describe_pool(pool), rows, train),
            [Variant(SURROGATE, kind, images) for kind, images in batches if images],
        )

    def _fetch(self, ids: list[int]) -> dict[int, LabeledImage]:
        """Write the files of unlabeled images into the folder; those that cannot be read are missing."""
        (self.folder / "images").mkdir(parents=True, exist_ok=True)
        images = {}
        for image, data in self.images.contents(ids):
            path = self.folder / "images" / str(image)
            path.write_bytes(data)
            images[image] = LabeledImage(image, path, displayed_size(path))
        return images


@dataclass(frozen=True, eq=False)
class _Measurements:
    """One group of a plan: its images, the detector that it starts from, its batches; a control comes with them."""

    name: str
    group: Group
    start: Detector
    described: Described
    batches: list[Variant]

    @property
    def variants(self) -> list[Variant]:
        return [Variant(self.name, "control", ()), *self.batches]


def copied(labeled: Dataset, folder: Path) -> Dataset:
    """Labeled images as a plan in `folder` wants them: in `folder / "images"`, named by their ids."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    images = []
    for image in labeled.images:
        path = folder / "images" / str(image.id)
        if not path.exists():
            shutil.copyfile(image.path, path)
        images.append(replace(image, path=path))
    return Dataset(tuple(images), labeled.names)

"""What the inner loop is to measure for a ranking: which batches, from which start, on which images.

Hindsight: labeled images play the pool. From a detector that has not seen some of them, batches of those are added with
their true boxes. The detector is the one that served while they were chosen; before there is one, it is trained on half
of the labeled images. Surrogates: batches of the real pool, which have no boxes, are added to the detector that is to
serve.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from agent.inner_loop.plan import HINDSIGHT, SURROGATE, Described, Group, Past, Plan, SurrogateConfig, Variant
from agent.inner_loop.proposals import propose
from agent.match_table import MatchTable
from agent.pool.phi import describe_pool
from agent.pool.pool import Pool
from model.data.dataset import Dataset, LabeledImage
from model.data.detections import Detections
from model.data.images import displayed_size
from model.detectors.base import Detector, FitConfig
from model.progress import Report

Fetch = Callable[[list[int]], Iterable[tuple[int, bytes]]]

FEWEST = 8  # images that play the pool, or that are measured on: with fewer there is nothing to tell batches apart by
BACKGROUND = 256  # unlabeled images beside which those that play the pool are described


@dataclass(frozen=True)
class PlanConfig:
    """How much the inner loop may measure."""

    hindsight: int = 8
    """batches of labeled images"""
    surrogates: int = 0
    """batches of the pool"""
    training: SurrogateConfig = field(default_factory=SurrogateConfig)

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


@dataclass(frozen=True, eq=False)
class Hindsight:
    """Where hindsight starts: a detector that knows `known` and has never seen `fresh`; whether it is the one that
    served before."""

    detector: Detector
    known: tuple[int, ...]
    fresh: tuple[int, ...]
    served: bool


def look_back(
    train: Dataset,
    untrained: Detector,
    earlier: tuple[Detector, frozenset[int]] | None,
    fit: FitConfig,
    report: Report,
) -> Hindsight | None:
    """A start for hindsight, or None where too little is labeled.

    Args:
        train: the labeled images outside the holdout.
        untrained: what a training starts from where no earlier detector serves.
        earlier: an earlier detector of the same classes and the ids that it was trained on.
        fit: the training of the detector that serves; a half of its updates makes a start of our own.
    """
    ids = [image.id for image in train.images]
    if earlier is not None and earlier[0].names == train.names:
        known, fresh = [k for k in ids if k in earlier[1]], [k for k in ids if k not in earlier[1]]
        if len(fresh) >= FEWEST and len(known) >= FEWEST:
            return Hindsight(earlier[0], tuple(known), tuple(fresh), True)
    shuffled = np.random.default_rng(fit.seed).permutation(ids).tolist()
    known, fresh = sorted(shuffled[: len(ids) // 2]), sorted(shuffled[len(ids) // 2 :])
    half = train.subset(known)
    if len(known) < FEWEST or not any(len(image.class_ids) for image in half.images):
        return None
    shorter = replace(fit, epochs=max(1, fit.epochs // 2), min_steps=max(1, fit.min_steps // 2))
    return Hindsight(untrained.fit(half, shorter, report=report), tuple(known), tuple(fresh), False)


def make_plan(
    folder: Path,
    labeled: Dataset,
    pool: Pool,
    serving: Detector,
    hindsight: Hindsight | None,
    gain: tuple[float, float] | None,
    fetch: Fetch,
    budget: int,
    config: PlanConfig,
    cycle: int,
) -> Plan:
    """Choose the batches, put everything that a worker needs into `folder`, and return the plan.

    Args:
        labeled: all labeled images; their files are in `folder / "images"`.
        pool: the unlabeled images as `serving` sees them.
        gain: (ΔmAP, standard error) of the last training over the detector that served before.
        fetch: yields the bytes of unlabeled images; those that cannot be read are left out.
        budget: images that the ranking's batch will have.
    """
    rng = np.random.default_rng([config.training.seed, cycle])
    train, holdout = labeled.holdout()
    groups: dict[str, Group] = {}
    variants: list[Variant] = []
    starts: dict[str, Detector] = {}
    described: dict[str, Described] = {}
    background = [int(k) for k in rng.permutation(pool.ids)[:BACKGROUND]]
    measured = any(len(image.class_ids) for image in holdout.images) and len(holdout) >= FEWEST
    surrogates = propose(pool, config.surrogates, budget, rng) if measured and len(pool) > budget else []
    wanted = set(background if hindsight and config.hindsight else [])
    wanted |= {int(pool.ids[row]) for proposal in surrogates for row in proposal.rows}
    fetched = _store(folder, sorted(wanted), fetch)
    everything = Dataset(labeled.images + tuple(fetched.values()), labeled.names)

    if hindsight is not None and config.hindsight:
        seen = _described(hindsight, everything, holdout, [k for k in background if k in fetched])
        played = np.flatnonzero(np.isin(seen.ids, hindsight.fresh))
        mine = seen.take(played)
        batches = propose(mine, config.hindsight, max(2, len(mine) // 2), rng)
        evaluation = tuple(image.id for image in holdout.images) + hindsight.fresh
        groups[HINDSIGHT] = Group(hindsight.known, evaluation, config.training)
        starts[HINDSIGHT] = hindsight.detector
        known = everything.subset(hindsight.known)
        described[HINDSIGHT] = Described.of(seen, describe_pool(seen), played, known)
        variants += [Variant(HINDSIGHT, "control", ())]
        variants += [Variant(HINDSIGHT, b.kind, tuple(int(k) for k in mine.ids[b.rows])) for b in batches]
    if surrogates:
        groups[SURROGATE] = Group(
            tuple(i.id for i in train.images), tuple(i.id for i in holdout.images), config.training
        )
        starts[SURROGATE] = serving
        rows = np.unique(np.concatenate([proposal.rows for proposal in surrogates]))
        described[SURROGATE] = Described.of(pool, describe_pool(pool), rows, train)
        variants += [Variant(SURROGATE, "control", ())]
        for proposal in surrogates:
            ids = tuple(k for k in pool.ids[proposal.rows].tolist() if k in fetched)
            if ids:
                variants.append(Variant(SURROGATE, proposal.kind, ids))
    past = None
    if gain is not None and hindsight is not None and hindsight.served and HINDSIGHT in groups:
        past = Past(hindsight.fresh, *gain)
    plan = Plan(folder, groups, variants, cycle, past)
    plan.save(everything, starts, described)
    return plan


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


def _store(folder: Path, ids: list[int], fetch: Fetch) -> dict[int, LabeledImage]:
    """Write the pictures of unlabeled images below `folder`; those that cannot be read are missing."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    out = {}
    for image_id, data in fetch(ids):
        path = folder / "images" / str(image_id)
        path.write_bytes(data)
        out[image_id] = LabeledImage(image_id, path, displayed_size(path))
    return out


def _described(hindsight: Hindsight, data: Dataset, holdout: Dataset, background: list[int]) -> Pool:
    """The images that play the pool, and some of the real pool beside them, as hindsight's detector sees them."""
    ap = np.full(len(data.names), -1.0)
    if len(holdout):
        found = hindsight.detector.predict([image.path for image in holdout.images])
        ap = MatchTable.from_dataset(holdout, found).evaluate().ap
    looked = data.subset({*hindsight.fresh, *background})
    known = data.subset(hindsight.known)
    encodings: list[np.ndarray] = []

    def look() -> Iterable[Detections]:
        for detections, encoding in hindsight.detector.scan([image.path for image in looked.images]):
            encodings.append(encoding)
            yield detections

    return Pool.from_detections(
        [image.id for image in looked.images],
        look(),
        encodings,
        hindsight.detector.names,
        hindsight.detector.encode([image.path for image in known.images]),
        ap,
    )

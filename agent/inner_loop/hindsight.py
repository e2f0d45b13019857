"""Hindsight: labeled images play the pool for a detector that has not learned from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agent.match_table import MatchTable
from agent.pool.pool import Pool
from model.atomic import TEMPORARY, remove, sync
from model.damage import DamagedError, reading, warn
from model.data.dataset import Dataset
from model.data.detections import Detections
from model.detectors.base import Detector, FitConfig
from model.detectors.open import open_detector
from model.evaluate import detect
from model.progress import Report

FEWEST = 8  # images that play the pool, or that are measured on: with fewer there is nothing to tell batches apart by


@dataclass(frozen=True, eq=False)
class Hindsight:
    """Where hindsight starts.

    Attributes:
        detector: learned from the images `learned`, and never saw `fresh`.
        served: whether it is the one that served while `fresh` were chosen.
    """

    detector: Detector
    learned: tuple[int, ...]
    fresh: tuple[int, ...]
    served: bool

    def pool(self, data: Dataset, holdout: Dataset, background: list[int]) -> Pool:
        """The images that play the pool, and some of the real pool beside them, as the detector sees them.

        Args:
            data: holds all of these images.
            background: ids of images of the real pool.
        """
        ap = np.full(len(data.names), -1.0)
        if len(holdout):
            ap = MatchTable.from_dataset(holdout, detect(self.detector, holdout)).evaluate().ap
        images = data.subset({*self.fresh, *background}).images
        encodings: list[np.ndarray] = []

        def look() -> Iterable[Detections]:
            for detections, encoding in self.detector.scan([image.path for image in images]):
                encodings.append(encoding)
                yield detections

        labeled = self.detector.encode([image.path for image in data.subset(self.learned).images])
        ids = [image.id for image in images]
        return Pool.from_detections(ids, look(), encodings, self.detector.names, labeled, ap)


def look_back(
    train: Dataset,
    untrained: Detector,
    earlier: tuple[Detector, frozenset[int]] | None,
    fit: FitConfig,
    report: Report,
    kept: Path | None = None,
) -> Hindsight | None:
    """A start for hindsight, or None where too little is labeled.

    Args:
        train: the labeled images outside the holdout.
        untrained: what a training starts from where no earlier detector serves.
        earlier: an earlier detector of the same classes and the ids that it was trained on.
        fit: the training of the detector that serves; a half of its updates makes a start of our own.
        kept: the file that keeps a start of our own; where it is there, it is taken and not trained again.
    """
    ids = [image.id for image in train.images]
    if earlier is not None and earlier[0].names == train.names:
        learned, fresh = [k for k in ids if k in earlier[1]], [k for k in ids if k not in earlier[1]]
        if len(fresh) >= FEWEST and len(learned) >= FEWEST:
            return Hindsight(earlier[0], tuple(learned), tuple(fresh), True)
    shuffled = np.random.default_rng(fit.seed).permutation(ids).tolist()
    learned, fresh = sorted(shuffled[: len(ids) // 2]), sorted(shuffled[len(ids) // 2 :])
    half = train.subset(learned)
    if len(learned) < FEWEST or not half.boxes:
        return None
    shorter = replace(fit, epochs=max(1, fit.epochs // 2), min_steps=max(1, fit.min_steps // 2))
    return Hindsight(_trained(untrained, half, shorter, report, kept), tuple(learned), tuple(fresh), False)


def _trained(untrained: Detector, data: Dataset, fit: FitConfig, report: Report, kept: Path | None) -> Detector:
    if kept is None:
        return untrained.fit(data, fit, report=report)
    if kept.exists():
        try:
            with reading(kept, "it is trained once more"):
                return open_detector(kept)
        except DamagedError as error:
            warn(str(error))
            remove(kept)
    detector = untrained.fit(data, fit, report=report, checkpoint=kept.with_name(f"{kept.stem}-checkpoint.pt"))
    temporary = kept.with_name(f"{TEMPORARY}{kept.name}")
    detector.save(temporary)
    sync(temporary)
    temporary.replace(kept)
    return detector

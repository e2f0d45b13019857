"""Surrogates: what mAP would become if a batch were added to training, measured by training a copy for a short while.

A variant learns from the labeled images and from its batch; the control, which every variant is compared with, learns
as long from the labeled images alone. ΔmAP is the difference of the two on images that neither has seen. The batch has
no labels, so it is learned from by consistency (the paper's L_S + w(t) L_U): the teacher, a moving average of the
student, labels the plain picture, the student must find those boxes in a distorted one. Where the batch does have
labels, because labeled images play the pool (hindsight), they take the teacher's place and nothing else changes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from agent.inner_loop.values import SurrogateConfig
from agent.match_table import MatchTable
from model.data.dataset import Dataset
from model.data.images import Letterboxed, load_image
from model.detectors.base import Picture
from model.detectors.learner import Learner
from model.detectors.network import NetworkDetector
from model.detectors.training import Sample, Samples, fit_in_memory, strong
from model.progress import Report, silent

CACHE_BYTES = 1_000_000_000  # of letterboxed images kept in memory, at most; others are read again, and seldom
MEASUREMENTS = 2  # at the end of a training: one alone is noisier


@dataclass(frozen=True)
class VariantCurve:
    """What a training reached.

    Attributes:
        steps: (k,) updates done at each measurement.
        tables: k match tables of the teacher on the evaluation images, at each measurement.
    """

    steps: tuple[int, ...]
    tables: tuple[MatchTable, ...]


def ramp_up(step: int, length: int) -> float:
    """exp(-5 (1 - t)^2) with t = step / length: the ramp of Laine and Aila (ICLR 2017), as CSD takes it; 1 from
    `length` on."""
    if step >= length:
        return 1.0
    return math.exp(-5.0 * (1.0 - step / length) ** 2)


def train_variant(
    detector: NetworkDetector,
    labeled: Dataset,
    batch: Dataset,
    evaluation: Dataset,
    config: SurrogateConfig,
    *,
    labels: bool,
    report: Report = silent,
) -> VariantCurve:
    """Train a copy of `detector` on `labeled` and `batch`; measure it on `evaluation` at the end and a little before.

    Every update sees one half from each of the two; `labeled` in both places makes a control. The half from `labeled`
    is the same pictures in the same views for all variants of a seed, so that they differ by their batches only.

    Args:
        labels: whether the batch's own boxes are learned from; if not, the teacher's are.
        report: called after every update.
    """
    learner = Learner(detector, learning_rate=config.learning_rate)
    half = max(1, config.batch // 2)
    kept = fit_in_memory(len(labeled) + len(batch) + len(evaluation), learner.size, CACHE_BYTES)
    pictures: list[Picture] = [image.path for image in evaluation.images]
    with torch.random.fork_rng():
        known = Samples(labeled, learner.size, kept)
        base = _Source(known, learner, half, True, config, salt=1)
        added = known if batch is labeled else Samples(batch, learner.size, kept)
        extra = _Source(added, learner, half, labels, config, salt=2)
        if kept:  # what the network looks at; the whole pictures would take up to 100 times as much
            pictures = [Letterboxed.of(load_image(image.path), learner.size) for image in evaluation.images]
        measured = {config.steps - k * config.every for k in range(MEASUREMENTS)}
        steps: list[int] = []
        tables: list[MatchTable] = []
        for step in range(1, config.steps + 1):
            weight = config.weight * ramp_up(step, max(1, round(config.ramp * config.steps)))
            loss = learner.loss(base.draw(step)) + weight * learner.loss(extra.draw(step))
            learner.update(loss, min(1.0, step / 3), min(config.momentum, 1 - 1 / (step + 1)))
            report(step, config.steps, loss=loss.item())
            if step in measured:
                detections = learner.detector().predict(pictures)
                steps.append(step)
                tables.append(MatchTable.from_dataset(evaluation, detections))
    return VariantCurve(tuple(steps), tuple(tables))


class _Source:
    """Draws half an update's samples from a data set, the same for the same seed, salt and step."""

    def __init__(
        self,
        samples: Samples,
        learner: Learner,
        count: int,
        labels: bool,
        config: SurrogateConfig,
        salt: int,
    ) -> None:
        self.learner, self.count, self.labels, self.config, self.salt = learner, count, labels, config, salt
        self.samples = samples

    def draw(self, step: int) -> list[Sample]:
        """The samples of an update."""
        self._seed(step)
        samples = [self.samples[k] for k in self._pick(len(self.samples))]
        if not self.labels:
            plain = torch.stack([picture for picture, *_ in samples])
            labels = self.learner.pseudo_labels(plain, self.config.confidence)
            samples = [(picture, *boxes) for (picture, *_), boxes in zip(samples, labels, strict=True)]
        return [strong(sample, self.learner.size) for sample in samples]

    def _pick(self, size: int) -> list[int]:
        """`count` of `size`, as evenly as a random draw can."""
        rounds = -(-self.count // size)
        return torch.cat([torch.randperm(size) for _ in range(rounds)])[: self.count].tolist()

    def _seed(self, step: int) -> None:
        torch.manual_seed(int(np.random.SeedSequence([self.config.seed, self.salt, step]).generate_state(1)[0]))

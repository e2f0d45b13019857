"""Gains by what labeling costs: batches are compared after the same seconds of labeling, not the same images."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from agent.costs import LabelingCosts
from agent.gain.class_curves import ClassCurves
from agent.gain.model import GainModel
from agent.pool.phi import Phi
from agent.pool.pool import Pool


@dataclass(frozen=True, eq=False)
class PerSecond(GainModel):
    """A model of gains that is read where a batch of n images has cost as much as n average images of the pool.

    The sum of a batch's codes is multiplied by the seconds of n average images over its own expected seconds: as much
    of its like as the same time pays for. The quotient of gain and seconds would not do. A gain levels off, so that the
    first seconds always bring most, and the quotient would praise a batch for being small.

    The codes are the model's own and two columns more: an image's seconds as a share of an average one's, and a 1. A
    near-copy, whose code counts in part, then costs in part too. So it still makes the batch as much smaller.

    Attributes:
        model: what batches gain.
        boxes: tells expected boxes by class from descriptions.
        costs: of an image and a box.
        usual: seconds of the pool's images, their mean.
        equal: whether batches are brought to equal seconds; if not, it is `model` with two columns that say nothing.
    """

    model: GainModel
    boxes: ClassCurves
    costs: LabelingCosts
    usual: float
    equal: bool = True

    @classmethod
    def on(cls, model: GainModel, pool: Pool, phi: Phi, costs: LabelingCosts) -> PerSecond:
        """For a pool that `phi` describes."""
        boxes = ClassCurves.of(phi, pool.expected, np.zeros(len(pool.names)), pool.class_ap)
        return cls(model, boxes, costs, float(costs.seconds(boxes.usual.sum())))

    def codes(self, phi: np.ndarray) -> np.ndarray:
        """See `GainModel.codes`: (n, K + 2)."""
        seconds = self.costs.seconds(self.boxes.boxes(phi).sum(axis=1)) / self.usual
        return np.column_stack([self.model.codes(phi), seconds, np.ones(len(phi))]).astype(np.float32)

    def draws(self, sums: np.ndarray) -> np.ndarray:
        """See `GainModel.draws`."""
        return self.model.draws(self._brought(sums))

    def relative(self, sums: np.ndarray) -> np.ndarray:
        """See `GainModel.relative`."""
        return self.model.relative(self._brought(sums))

    def seconds(self, codes: np.ndarray) -> np.ndarray:
        """See `GainModel.seconds`."""
        return codes[:, -2] * self.usual

    @property
    def plain(self) -> GainModel:
        """See `GainModel.plain`."""
        return replace(self, equal=False)

    def _brought(self, sums: np.ndarray) -> np.ndarray:
        """(E, K) sums of the model's own codes."""
        own, seconds, images = sums[:, :-2], sums[:, -2], sums[:, -1]
        if not self.equal:
            return own
        return own * np.divide(images, seconds, out=np.zeros(len(sums)), where=seconds > 0)[:, None]

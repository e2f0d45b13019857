"""Learning curves of classes: what more boxes of a class are worth, by how many were learned from already.

The odds of a class's AP grow as a power of its boxes: AP(n) = 1 / (1 + (h / (n + 1))^GAMMA), where h is the number of
boxes at which AP is one half. So a box is worth nearly the same in every class until the class is half learned, and
less and less from there on. This is what is known of a batch before any gain was measured, from the boxes that its
images count for (`agent.gain.content`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.gain.content import Content
from agent.pool.phi import EXPECTED, Phi
from model.data.dataset import HOLDOUT

GAMMA = 0.8
"""Exponent of the power law of the odds: AP rises by GAMMA AP (1 - AP) for every e-fold of boxes. It was
measured over nine strategies and three seeds (`python -m bench.what_helps`, docs/RESULTS.md); from .6 to 1 it hardly
changes how well what strategies reached is told from their boxes. Before, the error fell as n^-1/2 and the rarest class
gained most, which told it worse on scenes."""

BELIEVED = 10.0
"""Boxes of a class in the holdout from which on its own AP says more of it than the mean of all classes."""

UNKNOWN_AP = 0.1  # mean of the classes, where none was measured
LOWEST_AP, HIGHEST_AP = 0.005, 0.99  # what an estimate is kept between: the odds of 0 and 1 have no power law


@dataclass(frozen=True, eq=False)
class ClassCurves:
    """The C classes of a pool.

    Attributes:
        columns: (C,) int64, where φ holds log(1 + expected boxes), standardised.
        centre, scale: (C,) of these columns, as in `Phi`.
        labeled_boxes: (C,) boxes that were learned from already.
        usual: (C,) mean expected boxes of an image of the pool.
        half: (C,) boxes at which a class's AP is one half.
        content: what an image counts for; None: for each of its expected boxes.
    """

    columns: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    labeled_boxes: np.ndarray
    usual: np.ndarray
    half: np.ndarray
    content: Content | None = None

    @classmethod
    def of(
        cls,
        phi: Phi,
        expected: np.ndarray,
        labeled_boxes: np.ndarray,
        class_ap: np.ndarray,
        content: Content | None = None,
    ) -> ClassCurves:
        """For a pool described by `phi`, with (n, C) expected boxes, beside labeled images with (C,) boxes, from which
        the classes reached `class_ap` (C,), -1 where unknown."""
        columns = np.array([k for k, name in enumerate(phi.columns) if name.startswith(EXPECTED)], np.int64)
        usual = expected.mean(axis=0, dtype=np.float64) if len(expected) else np.zeros(len(columns))
        boxes = np.asarray(labeled_boxes, np.float64)
        return cls(
            columns, phi.centre[columns], phi.scale[columns], boxes, usual, half_learned(class_ap, boxes), content
        )

    def __len__(self) -> int:
        return len(self.columns)

    def boxes(self, phi: np.ndarray) -> np.ndarray:
        """(n, C) expected boxes of images from their descriptions (n, F)."""
        spread = np.where(self.scale > 0, self.scale, 1.0)
        logs = np.asarray(phi, np.float64)[:, self.columns] * (self.scale > 0) / spread + self.centre
        return np.maximum(np.expm1(logs), 0.0)

    def counted(self, phi: np.ndarray) -> np.ndarray:
        """(n, C) boxes that images count for, from their descriptions (n, F)."""
        boxes = self.boxes(phi)
        return boxes if self.content is None else self.content.counted(boxes, phi)

    def worth(self, boxes: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
        """(E, C) what batches with so many boxes (E, C) add to the AP of each class.

        Concave in the boxes, as GAMMA < 1; 0 without any. `before` (E, C) are the boxes learned from already; left
        out, what the pool's labeled images hold.
        """
        before = self.labeled_boxes if before is None else before
        return curve(before + np.maximum(boxes, 0.0), self.half) - curve(before, self.half)


def curve(boxes: np.ndarray, half: np.ndarray) -> np.ndarray:
    """AP after so many boxes of classes that reach one half at `half`; both broadcast."""
    return 1.0 / (1.0 + (half / (boxes + 1.0)) ** GAMMA)


def half_learned(class_ap: np.ndarray, labeled_boxes: np.ndarray) -> np.ndarray:
    """(C,) boxes at which each class reaches AP one half, from the AP (C,) that it has, -1 where unknown, and the boxes
    (C,) that it was learned from.

    A class's AP is the mean of what was measured, weighted by the boxes that it was measured on, and of what all
    classes have in common, weighted by BELIEVED: one `half` under which their mean AP is the measured one.
    """
    measured = class_ap >= 0
    mean = float(class_ap[measured].mean()) if measured.any() else UNKNOWN_AP
    mean = float(np.clip(mean, LOWEST_AP, HIGHEST_AP))
    boxes = labeled_boxes[measured] if measured.any() else labeled_boxes
    low, high = -10.0, 30.0  # of the logarithm of the common half; the mean AP falls with it
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if curve(boxes, np.exp(middle)).mean() > mean else (low, middle)
    share = np.where(measured, HOLDOUT * labeled_boxes / (HOLDOUT * labeled_boxes + BELIEVED), 0.0)
    ap = np.clip(share * class_ap + (1 - share) * curve(labeled_boxes, np.exp(low)), LOWEST_AP, HIGHEST_AP)
    return (labeled_boxes + 1.0) * (1.0 / ap - 1.0) ** (1.0 / GAMMA)

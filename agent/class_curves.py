"""Learning curves of classes: what more boxes of a class are worth, by how many were learned from already.

mAP is a mean over classes, and a class is learned along a power law of its examples: the hundredth box of a class
teaches less than the tenth, and a class with two boxes gains most. This is what is known of a batch before any gain was
measured, from its expected boxes alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent.phi import EXPECTED, Phi

BETA = 0.5
"""Exponent of the power law: error falls as n^-BETA. Hestness et al. (arXiv 1712.00409) measured 0.07 to 0.5 in other
tasks; from 0.3 to 1 it hardly changes the order of batches (docs/METHOD.md)."""


@dataclass(frozen=True, eq=False)
class ClassCurves:
    """The C classes of a pool.

    Attributes:
        columns: (C,) int64, where φ holds log(1 + expected boxes), standardised.
        centre, scale: (C,) of these columns, as in `Phi`.
        known: (C,) boxes that were learned from already.
        usual: (C,) mean expected boxes of an image of the pool.
    """

    columns: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    known: np.ndarray
    usual: np.ndarray

    @classmethod
    def of(cls, phi: Phi, expected: np.ndarray, known: np.ndarray) -> ClassCurves:
        """For a pool described by `phi`, with (n, C) expected boxes, beside labeled images with (C,) boxes."""
        columns = np.array([k for k, name in enumerate(phi.columns) if name.startswith(EXPECTED)], np.int64)
        usual = expected.mean(axis=0, dtype=np.float64) if len(expected) else np.zeros(len(columns))
        return cls(columns, phi.centre[columns], phi.scale[columns], np.asarray(known, np.float64), usual)

    @classmethod
    def none(cls) -> ClassCurves:
        """No classes: where nothing is known of boxes."""
        empty = np.zeros(0)
        return cls(np.zeros(0, np.int64), empty, empty, empty, empty)

    def __len__(self) -> int:
        return len(self.columns)

    def boxes(self, phi: np.ndarray) -> np.ndarray:
        """(n, C) expected boxes of images from their descriptions (n, F)."""
        spread = np.where(self.scale > 0, self.scale, 1.0)
        logs = np.asarray(phi, np.float64)[:, self.columns] * (self.scale > 0) / spread + self.centre
        return np.maximum(np.expm1(logs), 0.0)

    def worth(self, boxes: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
        """(E, C) what batches with so many boxes (E, C) add: (k + 1)^-BETA - (k + 1 + boxes)^-BETA.

        Concave in the boxes, 0 without any. `known` (E, C) is k; left out, what the pool's labeled images hold.
        """
        before = 1.0 + (self.known if known is None else known)
        return before**-BETA - (before + np.maximum(boxes, 0.0)) ** -BETA

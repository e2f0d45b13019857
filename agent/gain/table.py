"""The look-up table of gains: what a batch is worth by its images in each cell and its boxes of each class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.gain.cells import Cells
from agent.gain.class_curves import ClassCurves
from agent.gain.model import GainModel
from agent.gain.ridge import Ridge
from agent.gain.rows import LEAST_ERROR, Row
from agent.pool.phi import EXPECTED

SHARE_OF_SPREAD = 0.1
"""Of what a usual batch gains, before any was measured: the share that is due to images that differ. The rest is due to
boxes. Curves of trainings that see their labels often enough call for boxes, and not for spread (docs/RESULTS.md)."""


class GainTable(GainModel):
    """ΔmAP(batch) = sum_c T[c, n_c] + sum_k V[k] worth(b_k) + w . sum of phi: a set and a sum, in R refits of both.

    n_c is the sum of the images' shares in cell c. T[c, n] = sum_k W[c, k] min(n, knot_k) with W >= 0, which is
    concave and non-decreasing from T[c, 0] = 0: the tenth similar image teaches less than the first. b_k are the
    expected boxes of class k. worth is the rise of the class's AP by them (`ClassCurves.worth`), V >= 0.

    With nothing measured, one class that reaches AP 0.5 at 20 boxes and has 5, and images in two cells: the first two
    look alike, the others lie in the second cell, and two boxes are expected in the last.

        >>> phi = np.array([[0, -1], [0, -1], [0, 1], [np.log(1 + 2), 1]])
        >>> cells = Cells(centres=np.array([[-1.0], [1.0]]), scale=0.1, columns=np.array([1]))
        >>> few, usual, half = np.array([5.0]), np.array([0.5]), np.array([20.0])
        >>> classes = ClassCurves(np.array([0]), np.zeros(1), np.ones(1), few, usual, half)
        >>> table = GainTable.on([], cells, classes, np.random.default_rng(0), width=2, refits=20)
        >>> [round(table.estimate(phi[rows])[0], 4) for rows in ([0], [0, 1], [0, 2], [0, 3])]
        [0.0005, 0.0006, 0.001, 0.0182]

    Attributes:
        cells: M of them.
        classes: C of them.
        knots: (K,) counts at which T bends, from half an even share of a batch up to the largest batch measured.
        weights: (M * K + C + F, R) W, cell by cell, V, and w.
        levels: (R,) what each refit is multiplied by so that all agree on the worth of a usual batch.
    """

    def __init__(self, cells: Cells, classes: ClassCurves, knots: np.ndarray, weights: np.ndarray) -> None:
        self.levels = np.ones(weights.shape[1])
        self.cells = cells
        self.classes = classes
        self.knots = knots
        self.weights = weights

    @classmethod
    def on(
        cls,
        rows: Sequence[Row],
        cells: Cells,
        classes: ClassCurves,
        rng: np.random.Generator,
        width: int,
        refits: int,
    ) -> GainTable:
        """Fit to measured rows of `width` columns on given cells and classes.

        Least squares under the rows' `Noise`, with ridge towards the same concave curve in every cell, one V for all
        classes, and w = 0. So with few rows two things are worth something: boxes, by the power law of the odds of AP
        (`agent.gain.class_curves`), so most of classes that are not learned yet; and images that differ, which make
        SHARE_OF_SPREAD of a usual batch's gain. The strengths are the stiffest that predict a row left out as well as
        the best, by log predictive density and within one standard error.
        A refit resamples the rows and draws what it is pulled to from the ridge's own prior, so that where the rows
        are silent the refits differ by as much as the prior leaves open. Below `agent.gain.ridge.FEWEST` rows that is
        all there is.
        """
        for row in rows:
            if row.phi.shape[1] != width:
                raise ValueError(
                    f"a row has {row.phi.shape[1]} columns and the pool {width}: bring the rows into the pool's "
                    "columns first (Rows.aligned)"
                )
        sizes = [len(row.ids) for row in rows] or [len(cells.centres)]
        even = max(float(np.mean(sizes)), 1.0) / len(cells.centres)
        knots = even * 2.0 ** np.arange(-1, max(np.ceil(np.log2(max(sizes) / even)), 0) + 1)
        table = cls(cells, classes, knots, np.zeros((len(cells.centres) * len(knots) + len(classes) + width, 0)))
        design = np.concatenate([np.zeros((0, len(table.weights))), *(table._of_row(row) for row in rows)])
        size = float(np.mean(sizes))
        table.weights = Ridge(design, rows, table._units(even, size), rng).refits(refits)
        spread = np.tile(np.minimum(even, knots), len(cells.centres))
        usual = np.concatenate([spread, classes.worth(size * classes.usual), np.zeros(width)]) @ table.weights
        table.levels = usual.mean() / np.maximum(usual, 1e-3 * usual.mean())
        return table

    def predict(self, rows: Sequence[Row]) -> np.ndarray:
        """(n,) gains of measured batches, the mean over the refits."""
        return np.concatenate([self._of_row(row) for row in rows]) @ self.weights.mean(axis=1)

    def _of_row(self, row: Row) -> np.ndarray:
        """(1, columns) of a measured batch: with the boxes that were known when it was measured."""
        sums = self.codes(row.phi).sum(axis=0, dtype=np.float64)[None]
        names = [row.columns[k].removeprefix(EXPECTED) for k in self.classes.columns]
        boxes, before = (np.array([[of.get(name, 0.0) for name in names]]) for of in (row.boxes, row.known))
        return self.design(sums, self.classes.worth(boxes, before))

    def _units(self, even: float, size: float) -> np.ndarray:
        """(M * K + C,) what every part is pulled to: a usual batch of `size`, spread evenly over the cells, gains 1."""
        cells, curve = len(self.cells.centres), 1.0 / self.knots
        spread = np.tile(curve / (curve @ np.minimum(even, self.knots)), cells) / cells
        usual = float(self.classes.worth(size * self.classes.usual).sum())
        if usual <= 0:  # no box is expected anywhere, or no class is known
            return np.concatenate([spread, np.full(len(self.classes), LEAST_ERROR)])
        return np.concatenate([SHARE_OF_SPREAD * spread, np.full(len(self.classes), (1 - SHARE_OF_SPREAD) / usual)])

    def design(self, sums: np.ndarray, worth: np.ndarray | None = None) -> np.ndarray:
        """(E, M * K + C + F) what the weights multiply, from sums of codes (E, M + C + F).

        `worth` (E, C) is that of the batches' boxes, where other boxes than now were known.
        """
        cells, classes = len(self.cells.centres), len(self.classes)
        bends = np.minimum(sums[:, :cells, None], self.knots).reshape(len(sums), cells * len(self.knots))
        if worth is None:
            worth = self.classes.worth(sums[:, cells : cells + classes])
        return np.concatenate([bends, worth, sums[:, cells + classes :]], axis=1)

    def codes(self, phi: np.ndarray) -> np.ndarray:
        """(n, M + C + F) float32: an image's share in each cell, the boxes that it counts for, and its description."""
        return np.concatenate([self.cells.share(phi), self.classes.counted(phi), phi], axis=1).astype(np.float32)

    def draws(self, sums: np.ndarray) -> np.ndarray:
        """(E, R) gains by each refit."""
        return self.design(sums) @ self.weights

    def relative(self, sums: np.ndarray) -> np.ndarray:
        """(E, R) gains by each refit, all brought to one level: how much batches of the usual size are worth is often
        known less surely than which of them is worth more, and must not make every batch look worthless.

        What w adds is no part of that level, and stays: in a refit that finds batches worth little, it would drown all.
        """
        design = self.design(sums)
        whole = len(self.cells.centres) * len(self.knots) + len(self.classes)
        return design[:, :whole] @ self.weights[:whole] * self.levels + design[:, whole:] @ self.weights[whole:]

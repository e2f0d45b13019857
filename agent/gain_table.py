"""The look-up table of gains: what a batch is worth by how many of its images lie in each cell of the pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from agent.gain import GainModel
from agent.gain_rows import LEAST_ERROR, Noise, Row
from agent.seeding import seed

SAMPLE = 4096
"""Images of the pool among which cells are sought."""

TEMPERATURE = 0.1
"""Of the soft assignment: an image whose second cell is further by a tenth of the mean squared distance to the nearest
cell belongs e^-1 as much to the second as to the first."""

FEWEST = 5
"""Rows from which on they say more than their mean."""

CELL_SPREADS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Candidates for how far cells stray from the common curve, as a share of a typical gain; small is strong ridge."""

CONTENT_SPREADS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""The same for how much the content of batches makes their gains differ."""

REWEIGHTS = 2
UNKNOWN_GAIN = 0.01  # mAP; of a batch, before any was measured


@dataclass(frozen=True, eq=False)
class Cells:
    """A soft partition of the pool. centres: (M, F) float64; scale: the squared distance that divides by e."""

    centres: np.ndarray
    scale: float

    @classmethod
    def fit(cls, phi: np.ndarray, rng: np.random.Generator, cells: int, rounds: int = 25) -> Cells:
        """k-means (Lloyd) from a k-means++ seeding, on at most SAMPLE images of phi (n, F).

        Fewer cells where there are fewer different images. Raises ValueError on an empty pool.
        """
        if len(phi) == 0:
            raise ValueError("the pool has no images to find cells in: fit a gain table only where some are left")
        x = np.asarray(phi[np.linspace(0, len(phi) - 1, min(len(phi), SAMPLE)).round().astype(np.int64)], np.float64)
        drawn = seed(x.astype(np.float32), np.ones(len(x)), False, min(cells, len(x)), rng)
        centres = np.unique(x[drawn.rows], axis=0)
        for _ in range(rounds):
            nearest = _squared(x, centres).argmin(axis=1)
            members = np.eye(len(centres))[nearest]
            held = np.maximum(members.sum(axis=0), 1)[:, None]
            moved = np.where(members.any(axis=0)[:, None], members.T @ x / held, centres)
            if np.array_equal(moved, centres):
                break
            centres = moved
        return cls(centres, TEMPERATURE * max(float(_squared(x, centres).min(axis=1).mean()), 1e-6))

    def share(self, phi: np.ndarray) -> np.ndarray:
        """(n, M) how far each image belongs to each cell; rows sum to 1."""
        distance = _squared(np.asarray(phi, np.float64), self.centres) / self.scale
        likely = np.exp(distance.min(axis=1, keepdims=True) - distance)
        return likely / likely.sum(axis=1, keepdims=True)


class GainTable(GainModel):
    """ΔmAP(batch) = sum_c T[c, n_c] + w . sum of phi: the batch as a set and as a sum, in R refits of both.

    n_c is the sum of the images' shares in cell c. T[c, n] = sum_k W[c, k] min(n, knot_k) with W >= 0, which is
    concave and non-decreasing from T[c, 0] = 0: the tenth similar image teaches less than the first.

    Attributes:
        cells: M of them.
        knots: (K,) counts at which T bends, from half an even share of a batch up to the largest batch measured.
        weights: (M * K + F, R) W, cell by cell, and w.
    """

    def __init__(self, cells: Cells, knots: np.ndarray, weights: np.ndarray) -> None:
        self.cells = cells
        self.knots = knots
        self.weights = weights

    @classmethod
    def fit(
        cls, rows: Sequence[Row], phi_pool: np.ndarray, rng: np.random.Generator, cells: int = 8, refits: int = 20
    ) -> GainTable:
        """Fit to measured rows, with cells from phi_pool (n, F) or a sample of it."""
        return cls.on(rows, Cells.fit(phi_pool, rng, cells), rng, refits)

    @classmethod
    def on(cls, rows: Sequence[Row], cells: Cells, rng: np.random.Generator, refits: int) -> GainTable:
        """Fit to measured rows on given cells.

        Least squares under the rows' `Noise`, with ridge towards the same concave curve in every cell and w = 0, so
        that few rows say: spread the batch. The strengths are those of the best leave-one-out log predictive density.
        A refit resamples the rows and draws what it is pulled to from the ridge's own prior, so that where the rows
        are silent the refits differ by as much as the prior leaves open. Below FEWEST rows that is all there is.
        """
        width = cells.centres.shape[1]
        for row in rows:
            if row.phi.shape[1] != width:
                raise ValueError(
                    f"a row has {row.phi.shape[1]} columns and the pool {width}: bring the rows into the pool's "
                    "columns first (Rows.aligned)"
                )
        sizes = [len(row.ids) for row in rows] or [len(cells.centres)]
        even = max(float(np.mean(sizes)), 1.0) / len(cells.centres)
        knots = even * 2.0 ** np.arange(-1, max(np.ceil(np.log2(max(sizes) / even)), 0) + 1)
        table = cls(cells, knots, np.zeros((len(cells.centres) * len(knots) + width, 0)))
        sums = [table.codes(row.phi).sum(axis=0, dtype=np.float64) for row in rows]
        design = table.design(np.reshape(sums, (len(rows), len(cells.centres) + width)))
        table.weights = _Fit(design, rows, table.units(even), rng).refits(refits)
        return table

    def units(self, even: float) -> np.ndarray:
        """(M * K,) the common curve: every bend counts the same, and a batch spread evenly over the cells gains 1."""
        curve = 1.0 / self.knots
        return np.tile(curve / (curve @ np.minimum(even, self.knots)), len(self.cells.centres)) / len(
            self.cells.centres
        )

    def design(self, sums: np.ndarray) -> np.ndarray:
        """(E, M * K + F) what the weights multiply, from sums of codes (E, M + F)."""
        cells = len(self.cells.centres)
        bends = np.minimum(sums[:, :cells, None], self.knots)
        return np.concatenate([bends.reshape(len(sums), cells * len(self.knots)), sums[:, cells:]], axis=1)

    def codes(self, phi: np.ndarray) -> np.ndarray:
        """(n, M + F) float32: an image's share in each cell, and its description."""
        return np.concatenate([self.cells.share(phi), phi], axis=1).astype(np.float32)

    def draws(self, sums: np.ndarray) -> np.ndarray:
        """(E, R) gains by each refit."""
        return self.design(sums) @ self.weights

    def table(self, size: int) -> np.ndarray:
        """(M, size + 1) T in mAP, the mean over the refits, for 0 to `size` images in a cell; w apart."""
        cells = len(self.cells.centres)
        weights = self.weights.mean(axis=1)[: cells * len(self.knots)].reshape(cells, -1)
        return weights @ np.minimum(np.arange(size + 1), self.knots[:, None])


class _Fit:
    """Ridge on a design whose columns are scaled so that every coefficient is a share of a typical gain."""

    def __init__(self, design: np.ndarray, rows: Sequence[Row], common: np.ndarray, rng: np.random.Generator) -> None:
        self.rng = rng
        n, bent = len(rows), len(common)
        self.gains = np.array([row.gain for row in rows])
        self.free = np.arange(design.shape[1]) >= bent
        unit = max(float(np.sqrt(np.mean(self.gains**2))), LEAST_ERROR) if n else UNKNOWN_GAIN
        content = design[:, bent:] - design[:, bent:].mean(axis=0) if n else design[:, bent:]
        # A content term that varies as much as the rows' do contributes one unit.
        spread = float(np.sqrt(np.square(content).sum(axis=1).mean())) if n else 0.0
        self.scale = unit * np.concatenate([common, np.full(self.free.sum(), 1.0 / max(spread, 1.0))])
        self.x = design * self.scale
        curve = self.x[:, ~self.free].sum(axis=1)
        self.level, self.level_error = 1.0, 1.0
        self.spread = np.where(self.free, CONTENT_SPREADS[0], 1.0)
        self.noise: Noise | None = None
        if n:
            noise = Noise.of(rows, self.gains - self.gains.mean())
            precision = noise.precision(np.ones(n))
            doubt = 1.0 / max(float(curve @ precision @ curve), 1e-12)
            self.level_error = float(np.sqrt(doubt))
            # Gains that do not differ from nothing still call for a spread batch, of no more worth than their doubt.
            self.level = max(float(curve @ precision @ self.gains) * doubt, self.level_error)
        if n < FEWEST:
            self.level_error = self.level
            return
        for _ in range(REWEIGHTS):
            noise = Noise.of(rows, self._residuals(noise))
        self.noise = noise

    def _residuals(self, noise: Noise) -> np.ndarray:
        """(n,) what is left of the gains under the best strengths, scaled up for what the fit itself took away."""
        n, ones, covariance = len(self.gains), np.ones(len(self.gains)), noise.covariance()
        prior = np.where(self.free, 0.0, self.level)
        off = self.gains - self.x @ prior
        best = -np.inf
        for cell, content in product(CELL_SPREADS, CONTENT_SPREADS):
            spread = np.where(self.free, content, cell)
            inverse = np.linalg.inv(covariance + (self.x * spread**2) @ self.x.T)
            # Rasmussen and Williams (2006), eq. 5.10 to 5.12; W >= 0 is left out of account.
            variance = 1.0 / np.diag(inverse)
            density = -0.5 * float(np.sum(np.log(variance) + (inverse @ off) ** 2 * variance))
            if density > best:
                best, self.spread, taken = density, spread, 1.0 - np.trace(covariance @ inverse) / n
        fitted = self.x @ self._solve(noise.precision(ones), prior)
        return (self.gains - fitted) / np.sqrt(max(1.0 - float(taken), 0.2))

    def _solve(self, precision: np.ndarray, prior: np.ndarray) -> np.ndarray:
        ridge = self.spread**-2
        weighted = self.x.T @ precision
        return nnls(weighted @ self.x + np.diag(ridge), weighted @ self.gains + ridge * prior, self.free)

    def refits(self, count: int) -> np.ndarray:
        """(columns, count) weights."""
        n, out = len(self.gains), []
        for _ in range(count):
            level = self.rng.gamma((self.level / self.level_error) ** 2) * self.level_error**2 / self.level
            level = max(level, 1e-6)
            # Gamma draws have the wanted mean and spread, and are never negative.
            common = self.rng.gamma((level / self.spread) ** 2) * self.spread**2 / level
            prior = np.where(self.free, self.rng.normal(0.0, self.spread), common)
            if self.noise is None:
                out.append(prior * self.scale)
                continue
            times = np.bincount(self.rng.integers(0, n, n), minlength=n).astype(np.float64)
            out.append(self._solve(self.noise.precision(times), prior) * self.scale)
        return np.stack(out, axis=1)


def nnls(gram: np.ndarray, moment: np.ndarray, free: np.ndarray) -> np.ndarray:
    """(p,) b that minimises b' gram b / 2 - moment' b with b >= 0 where not `free`; gram is positive definite.

    Block principal pivoting (Kim and Park, SIAM J. Sci. Comput. 2011): all coefficients on the wrong side change sides
    at once, and one at a time where that has stopped helping, which ends after finitely many exchanges.
    """
    inside = np.ones(len(moment), bool)
    fewest, patience = len(moment) + 1, 3
    while True:
        b = np.zeros(len(moment))
        b[inside] = np.linalg.solve(gram[np.ix_(inside, inside)], moment[inside])
        slope = gram @ b - moment
        tolerance = 1e-10 * (1.0 + np.abs(moment).max(initial=0.0))
        wrong = ~free & np.where(inside, b < 0, slope < -tolerance)
        if not wrong.any():
            return b
        if wrong.sum() < fewest:
            fewest, patience = int(wrong.sum()), 3
        elif patience:
            patience -= 1
        else:
            wrong[: np.flatnonzero(wrong)[-1]] = False
        inside ^= wrong


def _squared(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """(n, M) squared distances."""
    cross = x @ centres.T
    return np.maximum(np.square(x).sum(axis=1)[:, None] - 2 * cross + np.square(centres).sum(axis=1), 0.0)

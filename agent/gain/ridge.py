"""The fit of the gain table: non-negative ridge regression whose strengths are chosen by rows left out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from agent.gain.nnls import nnls
from agent.gain.rows import LEAST_ERROR, Noise, Row

FEWEST = 5
"""Rows from which on they say more than their mean."""

CELL_SPREADS = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Candidates for how far cells stray from the common curve, as a share of a typical gain; small is strong ridge."""

CONTENT_SPREADS = (0.01, 0.03, 0.1, 0.3, 1.0)
"""The same for how much the content of batches makes their gains differ."""

REWEIGHTS = 2
UNKNOWN_SPREAD = 0.3  # of cells and classes about what they have in common, before it was measured
UNKNOWN_GAIN = 0.01  # mAP; of a batch, before any was measured


class Ridge:
    """Ridge on a design whose columns are scaled so that every coefficient is a share of a typical gain."""

    def __init__(self, design: np.ndarray, rows: Sequence[Row], common: np.ndarray, rng: np.random.Generator) -> None:
        """Scale the design and choose the strengths.

        Args:
            design: (n, P) what the P weights multiply, a line for each row.
            rows: n measured batches; there may be none.
            common: (Q,) what the first Q weights are pulled to, times a level that is fitted. These are never negative.
                The other weights are pulled to 0.
        """
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
        self.spread = np.where(self.free, CONTENT_SPREADS[0], UNKNOWN_SPREAD)
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
        fits: list[tuple[float, np.ndarray, np.ndarray]] = []
        for cell, content in product(CELL_SPREADS, CONTENT_SPREADS):
            spread = np.where(self.free, content, cell)
            inverse = np.linalg.inv(covariance + (self.x * spread**2) @ self.x.T)
            # Rasmussen and Williams (2006), eq. 5.10 to 5.12; W >= 0 is left out of account.
            variance = 1.0 / np.diag(inverse)
            density = -0.5 * (np.log(variance) + (inverse @ off) ** 2 * variance)
            fits.append((float(1.0 - np.trace(covariance @ inverse) / n), density, spread))
        freedom, self.spread = _simplest(fits)
        fitted = self.x @ self._solve(noise.precision(ones), prior)
        return (self.gains - fitted) / np.sqrt(max(1.0 - freedom, 0.2))

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
            # Gamma draws have the wanted mean and are never negative. Their spread is a share of the level: were it the
            # same in all, refits of a low level would hold a few cells and classes and none of the others.
            shape = (self.level / self.spread) ** 2
            common = level * self.rng.gamma(shape) / shape
            prior = np.where(self.free, self.rng.normal(0.0, self.spread), common)
            if self.noise is None:
                out.append(prior * self.scale)
                continue
            times = np.bincount(self.rng.integers(0, n, n), minlength=n).astype(np.float64)
            out.append(self._solve(self.noise.precision(times), prior) * self.scale)
        weights = np.stack(out, axis=1)
        if self.noise is None:  # few draws have not quite the prior's mean, and there is nothing else to go by
            mean = weights.mean(axis=1, keepdims=True)
            prior = np.where(self.free, 0.0, self.level)[:, None] * self.scale[:, None]
            weights = np.where(self.free[:, None], weights - mean, weights * prior / np.where(mean > 0, mean, 1.0))
        return weights


def _simplest(fits: Sequence[tuple[float, np.ndarray, np.ndarray]]) -> tuple[float, np.ndarray]:
    """(degrees of freedom, strengths) of the stiffest fit among those that predict as well as the best, within one
    standard error of the difference. A fit is (degrees of freedom, (n,) log predictive densities, strengths).

    The one standard error rule of Breiman et al. (1984). The best itself is often the best by luck: with eight rows
    whose noise is half of what batches differ by, it cost a fifth of what the batch that the table starts from gains.
    """
    best = max((density for _, density, _ in fits), key=lambda density: float(density.sum()))
    near = []
    for freedom, density, spread in fits:
        behind = best - density
        if behind.sum() <= behind.std(ddof=1) * np.sqrt(len(behind)):
            near.append((freedom, spread))
    return min(near, key=lambda pair: pair[0])

"""Non-negative least squares on the normal equations."""

from __future__ import annotations

import numpy as np


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

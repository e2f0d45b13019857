"""What a batch of images is worth: the interface that the look-up table and the prediction network share.

Both are sums over images followed by a function (deep sets, Zaheer et al., NeurIPS 2017): each image has a code, a
batch is the sum of its images' codes, and a gain is read off that sum. So a query costs O(B), and one image more O(1).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class GainModel(ABC):
    """Estimates the gain in mAP of labeling a batch. An empty batch gains nothing, with no doubt about it."""

    @abstractmethod
    def codes(self, phi: np.ndarray) -> np.ndarray:
        """(n, K) float32 codes of images from their descriptions phi (n, F)."""

    @abstractmethod
    def draws(self, sums: np.ndarray) -> np.ndarray:
        """(E, R) gains of E batches, given their sums of codes (E, K), by each of R refits of the model.

        What all refits are unsure of alike cancels in the difference of two batches, refit by refit.
        """

    def relative(self, sums: np.ndarray) -> np.ndarray:
        """(E, R) `draws` less what the model doubts for all batches alike: what tells batches apart, and how surely."""
        return self.draws(sums)

    def seconds(self, codes: np.ndarray) -> np.ndarray:
        """(n,) what labeling each image costs, given their codes (n, K); 1 where images are what is counted."""
        return np.ones(len(codes))

    @property
    def plain(self) -> GainModel:
        """The gains of whole batches, whatever they cost, for the same codes."""
        return self

    def read(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(E,) mean and (E,) standard deviation of the gains of E batches over the refits."""
        gains = self.draws(sums)
        return gains.mean(axis=1), gains.std(axis=1, ddof=1)

    def estimate(self, batch: np.ndarray) -> tuple[float, float]:
        """(mean, std) of the gain in mAP of one batch, given the descriptions (B, F) of its images."""
        mean, std = self.read(self.codes(batch).sum(axis=0, dtype=np.float64)[None])
        return float(mean[0]), float(std[0])

"""What a plan of the inner loop is made of: how variants are trained, which there are, and what each reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.gain.content import content_of
from agent.pool.ids import rows_of_all
from agent.pool.phi import Phi
from agent.pool.pool import Pool
from model.data.dataset import Dataset


@dataclass(frozen=True)
class SurrogateConfig:
    """How a variant is trained."""

    steps: int = 30
    """updates"""
    batch: int = 16
    """images an update: half from the labeled images, half from the variant's batch"""
    learning_rate: float = 1e-3
    """after the warm-up; constant, because the teacher averages the noise out"""
    momentum: float = 0.9
    """of the teacher"""
    confidence: float = 0.5
    """pseudo-labels score at least this"""
    ramp: float = 0.4
    """share of the steps over which w(t) rises to `weight`"""
    weight: float = 1.0
    """w(t) at its height"""
    every: int = 10
    """updates between the two measurements at the end"""
    seed: int = 0


@dataclass(frozen=True)
class Group:
    """Variants that share a start, and the control that they are compared with.

    Attributes:
        labeled: ids that all of them learn from.
        evaluation: ids that they are measured on, less a variant's own batch.
        config: how they are trained.
    """

    labeled: tuple[int, ...]
    evaluation: tuple[int, ...]
    config: SurrogateConfig


@dataclass(frozen=True)
class Variant:
    """One training: a batch of `group`, or its control, whose batch is empty."""

    group: str
    kind: str
    ids: tuple[int, ...]

    @property
    def control(self) -> bool:
        """Whether this is what the others of its group are compared with."""
        return not self.ids


@dataclass(frozen=True, eq=False)
class Described:
    """Images as a detector saw them that had not learned from them.

    Attributes:
        ids: (n,).
        phi: (n, F), and columns (F,), its names.
        expected: (n, C) boxes that they count for (`agent.gain.content`), and names (C,) of the classes.
        known: (C,) boxes that the detector had learned from.
    """

    ids: np.ndarray
    phi: np.ndarray
    columns: np.ndarray
    expected: np.ndarray
    names: np.ndarray
    known: np.ndarray

    def rows(self, ids: Sequence[int]) -> np.ndarray:
        """(k,) int64, the row of each of these images. Raises KeyError on one that is not described."""
        return rows_of_all(self.ids, ids)

    @classmethod
    def of(cls, pool: Pool, phi: Phi, rows: np.ndarray, labeled: Dataset) -> Described:
        """Rows of a pool that `phi` describes; `labeled` is what its detector learned from."""
        values, content = np.asarray(phi.values[rows]), content_of(pool, phi)
        return cls(
            pool.ids[rows],
            values,
            np.array(phi.columns),
            pool.expected[rows] if content is None else content.counted(pool.expected[rows], values),
            np.array(pool.names),
            np.array([labeled.class_histogram()[name] for name in pool.names], np.float64),
        )


@dataclass(frozen=True)
class Past:
    """The batch of the cycle before, which the hindsight group describes, and what it really brought."""

    ids: tuple[int, ...]
    gain: float
    error: float


@dataclass(frozen=True)
class Result:
    """What a variant reached.

    Attributes:
        gain: ΔmAP, the variant's mAP less the control's on the same images, the mean of the measurements.
        error: its standard error by the paired bootstrap over those images.
        curve: (updates done, ΔmAP) at each measurement; of a control its mAP.
        seconds: that it took.
    """

    gain: float
    error: float
    curve: tuple[tuple[int, float], ...]
    seconds: float

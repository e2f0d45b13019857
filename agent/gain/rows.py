"""Rows: batches whose gain in mAP was measured, kept from cycle to cycle, and the noise of what was measured."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.atomic import write_file
from model.damage import reading

SOURCES = ("surrogate", "hindsight", "cycle")
BASIS_COLUMNS = "component_"
"""What columns are called whose meaning depends on the encoder's basis: the next cycle's detector has another one."""

HALF_LIFE = 2.0
"""Cycles after which a row counts half: the detector that it was measured with is no longer the one that serves."""

KEPT_CYCLES = 10
"""Cycles that rows are kept for: after that they count less than a thirtieth."""

LEAST_ERROR = 1e-4
"""A hundredth of a point of mAP: no training repeats itself more closely, whatever an error says."""


@dataclass(frozen=True, eq=False)
class Row:
    """One measured batch.

    Attributes:
        ids: (B,) int64, the images of the batch.
        phi: (B, F) float32, their descriptions before the batch was learned from.
        gain: mAP with the batch minus mAP of the control run, in [-1, 1].
        error: standard error of `gain`, 0 where unknown.
        source: "surrogate" (pseudo-labels), "hindsight" (hidden labels) or "cycle" (a past cycle).
        group: rows measured against the same control run, whose noise they share.
        cycle: number of the cycle that measured it.
        columns: the F names of phi.
        boxes, known: by class, the boxes that the batch counts for, and the boxes that were learned from before it.
    """

    ids: np.ndarray
    phi: np.ndarray
    gain: float
    error: float
    source: str
    group: str
    cycle: int
    columns: tuple[str, ...]
    boxes: Mapping[str, float] = field(default_factory=dict)
    known: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.phi.shape != (len(self.ids), len(self.columns)):
            raise ValueError(
                f"a row of {len(self.ids)} images and {len(self.columns)} columns has phi {self.phi.shape}: "
                "describe each image of the batch by every column"
            )
        if self.source not in SOURCES:
            raise ValueError(f"source {self.source!r} of a row: it is one of {', '.join(SOURCES)}")
        if not (np.isfinite(self.gain) and np.isfinite(self.phi).all() and 0 <= self.error < np.inf):
            raise ValueError(
                f"a row's gain {self.gain}, error {self.error} or phi is not finite, or the error is negative: "
                "measure the batch again or leave it out"
            )

    def aligned(self, columns: tuple[str, ...], now: int) -> Row:
        """The row under other columns.

        Columns that it lacks become 0, the average of a standardised description, and so do components of a cycle
        before `now`.
        """
        phi = np.zeros((len(self.ids), len(columns)), np.float32)
        for k, name in enumerate(columns):
            if name in self.columns and (self.cycle >= now or not name.startswith(BASIS_COLUMNS)):
                phi[:, k] = self.phi[:, self.columns.index(name)]
        return replace(self, phi=phi, columns=columns)


PLAIN = ("gain", "error", "source", "group", "cycle", "columns", "boxes", "known")


class Rows(tuple[Row, ...]):
    """Rows in the order in which they were measured."""

    __slots__ = ()

    def renewed(self, cycle: int, measured: Sequence[Row]) -> Rows:
        """The rows of earlier cycles that still count, and those that `cycle` measured."""
        return Rows([row for row in self if 0 < cycle - row.cycle <= KEPT_CYCLES] + list(measured))

    def aligned(self, columns: tuple[str, ...], now: int) -> Rows:
        """All rows under the columns of cycle `now`: see `Row.aligned`."""
        return Rows(row.aligned(columns, now) for row in self)

    def aged(self, now: int) -> np.ndarray:
        """(n,) weights 0.5 ** (age / HALF_LIFE), age in cycles before `now`."""
        return 0.5 ** (np.array([now - row.cycle for row in self], np.float64) / HALF_LIFE)

    def save(self, path: Path) -> None:
        """Write one file, whole or not at all: a JSON header, and all rows' ids and phi end to end, as .npz."""
        header = [{name: getattr(row, name) for name in PLAIN} | {"size": len(row.ids)} for row in self]
        out = io.BytesIO()
        np.savez_compressed(
            out,
            header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            ids=np.concatenate([np.zeros(0, np.int64), *(row.ids for row in self)]),
            phi=np.concatenate([np.zeros(0, np.float32), *(row.phi.ravel() for row in self)]),
        )
        write_file(path, out.getvalue())

    @classmethod
    def load(cls, path: Path) -> Rows:
        """Read what `save` wrote. Raises FileNotFoundError, and DamagedError on any other file."""
        with reading(path, "it is left out, and batches are measured anew"):
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
                header: list[dict[str, Any]] = json.loads(arrays["header"].tobytes())
                ids, phi = arrays["ids"], arrays["phi"]
            rows, image, value = [], 0, 0
            for about in header:
                size, columns = about.pop("size"), tuple(about.pop("columns"))
                part = phi[value : value + size * len(columns)].reshape(size, len(columns))
                rows.append(Row(ids=ids[image : image + size], phi=part, columns=columns, **about))
                image, value = image + size, value + part.size
        return cls(rows)


@dataclass(frozen=True, eq=False)
class Noise:
    """Covariance of n gains: variances of their own, and in each group the control run's, which all its rows share.

    C_ij = own_i [i = j] + shared_i shared_j [group_i = group_j].

    Attributes:
        own: (n,) variances.
        shared: (n,) standard deviations.
        groups: (n,) int64, 0 to G - 1.
    """

    own: np.ndarray
    shared: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, rows: Sequence[Row], residuals: np.ndarray) -> Noise:
        """Noise of rows by their errors, and by what a fit left unexplained of them, residuals (n,).

        A row's own variance is error^2 + a floor per source, such that they agree on average with the scatter of that
        source's residuals about their group's mean. A control run is trained like any other, so it is as noisy as the
        rows measured against it, or more where groups' means lie further apart than that. A row of weight w
        (`Rows.aged`, from the newest row's cycle) has 1 / w times the variance.
        """
        _, groups = np.unique([row.group for row in rows], return_inverse=True)
        count = np.bincount(groups)
        mean = np.bincount(groups, residuals) / count
        alone = count[groups] == 1  # its residual is all that is known of its scatter
        within = np.where(alone, residuals, residuals - mean[groups])
        scatter = within**2 * np.where(alone, 1.0, count[groups] / np.maximum(count[groups] - 1, 1))
        own = np.array([row.error**2 for row in rows])
        source = np.array([row.source for row in rows])
        for name in np.unique(source):
            of_source = source == name
            judges = of_source & ~alone if (of_source & ~alone).any() else of_source
            own[of_source] += max(0.0, float((scatter - own)[judges].mean()))
        own = np.maximum(own, LEAST_ERROR**2)
        control = np.bincount(groups, own) / count
        if len(count) > 1:
            control = np.maximum(control, float(np.mean(mean**2 - control / count)))
        age = Rows(rows).aged(max(row.cycle for row in rows))
        return cls(own / age, np.sqrt(control[groups] / age), groups)

    def covariance(self) -> np.ndarray:
        """(n, n) C."""
        same = self.groups[:, None] == self.groups
        return np.diag(self.own) + same * np.outer(self.shared, self.shared)

    def precision(self, times: np.ndarray) -> np.ndarray:
        """(n, n) Q with which a resample of the rows, row i drawn times_i, has the squared error e' Q e.

        With times 1 it is the inverse of C, so e' Q e = |inverse(L) e|^2 with C = L L': whitening by the Cholesky
        factor. A row drawn twice counts as two runs against one control. Sherman and Morrison (1950), group by group.
        """
        weight = times / self.own
        pull = weight * self.shared
        total = np.bincount(self.groups, pull * self.shared)[self.groups]
        same = self.groups[:, None] == self.groups
        return np.diag(weight) - same * np.outer(pull, pull / (1.0 + total))

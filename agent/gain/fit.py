"""Which model of gains serves, and how far it may be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from agent.gain.cells import Cells
from agent.gain.class_curves import ClassCurves
from agent.gain.content import content_of
from agent.gain.model import GainModel
from agent.gain.net import GainNet, predict_held_out
from agent.gain.ranks import spearman
from agent.gain.ridge import FEWEST
from agent.gain.rows import BASIS_COLUMNS, Row, Rows
from agent.gain.table import GainTable
from agent.pool.ids import rows_of
from agent.pool.newness import share_of_twins
from agent.pool.phi import Phi
from agent.pool.pool import Pool

FOLDS = 5
TABLE_ROUNDS = 8
NET_ROUNDS = 3
CELLS = 16
MARGIN = 0.1  # of rho
NET_FEWEST = 30  # rows of true labels: of ten, chance lets the net look better
REFITS = 20
REFITS_HELD_OUT = 5  # enough for a mean


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model of gains, fitted to all rows, and how well its kind predicts rows that it did not see.

    Attributes:
        model: the one with the higher rho; the table on a tie, or where nothing can be said.
        name: "table" or "net".
        rho: its Spearman correlation between predicted and measured gains of held-out rows; nan where unknown.
        rho_interval: 95 % interval of rho, by Fisher's z.
        rho_table, rho_net: of both.
        sources: how many rows of which source stand behind it.
        twins: share of the pool's images that have a twin (`agent.pool.newness`); nan where nobody looked.
        doubt: whether images count for the detector's doubt instead of their expected boxes.
    """

    model: GainModel
    name: str
    rho: float
    rho_interval: tuple[float, float]
    rho_table: float
    rho_net: float
    sources: dict[str, int]
    twins: float = np.nan
    doubt: bool = False


def fit_gains(pool: Pool, phi: Phi, rows: Rows, cycle: int, rng: np.random.Generator, *, doubt: bool = True) -> Fitted:
    """A model of the gains of batches of `pool`, which `phi` describes, from what was measured up to `cycle`.

    Without `doubt` an image counts for all boxes that are expected in it (the benchmark's ablation).
    """
    boxes = np.zeros(len(pool.names)) if pool.labeled_expected is None else pool.labeled_expected.sum(axis=0)
    measured = in_basis(rows.aligned(phi.columns, cycle), pool, phi)
    twins = share_of_twins(pool)
    content = content_of(pool, phi, twins) if doubt else None
    classes = ClassCurves.of(phi, pool.expected, boxes, pool.class_ap, content)
    return replace(choose(measured, phi, classes, rng), twins=twins, doubt=content is not None)


def in_basis(rows: Rows, pool: Pool, phi: Phi) -> Rows:
    """The rows with their images' components as the pool's encoder sees them: each row came with those of its own.

    Images that the pool does not know any more stand at its centre.
    """
    components = [k for k, name in enumerate(phi.columns) if name.startswith(BASIS_COLUMNS)]
    count = min(len(components), pool.standardised.shape[1])
    columns = components[:count]
    images = np.concatenate([np.zeros(0, np.int64), *(row.ids for row in rows)])
    basis = np.zeros((len(images), len(components)))
    for ids, encodings in ((pool.ids, pool.standardised), (pool.labeled_ids, pool.labeled_standardised)):
        if ids is not None:
            places = rows_of(ids, images)
            inside = np.flatnonzero(places >= 0)
            basis[inside, :count] = (encodings[places[inside], :count] - phi.centre[columns]) * phi.scale[columns]
    described, end = [], 0
    for row in rows:
        values, start, end = row.phi.copy(), end, end + len(row.ids)
        values[:, components] = basis[start:end]
        described.append(replace(row, phi=values))
    return Rows(described)


def choose(rows: Sequence[Row], phi: Phi, classes: ClassCurves, rng: np.random.Generator) -> Fitted:
    """Hold rows out of both kinds of model, and fit the kind that predicts them better to all rows.

    The net knows nothing but its rows, so it needs NET_FEWEST of them and has to predict better by MARGIN.

    Args:
        rows: under the pool's columns (`Rows.aligned`).
        phi: the pool's descriptions.

    Below FEWEST rows of true labels that have another of their group, rho is nan and the table serves.
    """
    sources = dict(Counter(row.source for row in rows))
    cells = Cells.fit(phi.values, rng, CELLS, phi.columns)
    rho_table = rho_net = np.nan
    count, groups = _comparable(rows)
    if len(rows) >= FEWEST and count >= FEWEST:
        rho_table = rho_of_table(rows, cells, classes, rng)
        rho_net = rho_of_net(rows, rng)
    net = bool(count >= NET_FEWEST and rho_net > rho_table + MARGIN)
    model: GainModel = (
        GainNet.fit(rows, rng) if net else GainTable.on(rows, cells, classes, rng, len(phi.columns), REFITS)
    )
    rho = rho_net if net else rho_table
    return Fitted(model, "net" if net else "table", rho, interval(rho, count - groups), rho_table, rho_net, sources)


def rho_of_table(
    rows: Sequence[Row], cells: Cells, classes: ClassCurves, rng: np.random.Generator, rounds: int = TABLE_ROUNDS
) -> float:
    """Held-out rank correlation of the gain table on given cells: see `held_out_rho`."""
    held_out = folds(rows, rounds, rng)
    predicted = np.zeros(held_out.shape)
    for fold, out in enumerate(held_out):
        rest = [row for row, hidden in zip(rows, out, strict=True) if not hidden]
        table = GainTable.on(rest, cells, classes, rng, rows[0].phi.shape[1], REFITS_HELD_OUT)
        predicted[fold, out] = table.predict([rows[k] for k in np.flatnonzero(out)])
    return held_out_rho(rows, held_out, predicted)


def rho_of_net(rows: Sequence[Row], rng: np.random.Generator, rounds: int = NET_ROUNDS) -> float:
    """Held-out rank correlation of the gain net: see `held_out_rho`."""
    held_out = folds(rows, rounds, rng)
    return held_out_rho(rows, held_out, predict_held_out(rows, held_out, rng))


def folds(rows: Sequence[Row], rounds: int, rng: np.random.Generator) -> np.ndarray:
    """(S, n) bool: each round parts the rows into folds, and marks one fold a line.

    Rows of one group are held out two or more at a time, as two of them are what can be compared; a row that is alone
    in its group is never held out. Nor is one of pseudo-labels: how well these are predicted says nothing of what true
    labels bring (docs/METHOD.md).
    """
    group = np.array([row.group for row in rows])
    true = np.array([row.source != "surrogate" for row in rows])
    marks: list[np.ndarray] = []
    for _ in range(rounds):
        fold = np.full(len(rows), -1)
        for name in np.unique(group):
            members = rng.permutation(np.flatnonzero((group == name) & true))
            parts = min(FOLDS, len(members) // 2)
            if parts:
                for k, part in enumerate(np.array_split(members, parts)):
                    fold[part] = k
        marks.extend(fold == k for k in range(fold.max() + 1))
    return np.array(marks)


def held_out_rho(rows: Sequence[Row], held_out: np.ndarray, predicted: np.ndarray) -> float:
    """Spearman correlation of predicted (S, n) with measured gains over the rows that held_out (S, n) marks.

    Leaving out a high gain lowers the level that a model learns from the rest, so that plain leave-one-out predictions
    of pure noise correlate with it by nearly -1. Hence only rows that were held out together, and were measured
    against the same control, are compared: from each prediction the mean over its group in its fold is taken, a
    prediction's differences are averaged over the rounds, and then ranked against the gains less their group's mean.
    No level is left in either, and a row's noise has no part in its own prediction: the covariance has mean 0 where
    there is nothing to predict. nan where nothing differs.
    """
    _, group = np.unique([row.group for row in rows], return_inverse=True)
    total = np.zeros(len(rows))
    for out, values in zip(held_out, predicted, strict=True):
        members = np.bincount(group, out)
        mean = np.bincount(group, values * out) / np.maximum(members, 1)
        total += out * (values - mean[group])
    gains = np.array([row.gain for row in rows])
    gains = gains - (np.bincount(group, gains) / np.bincount(group))[group]
    compared = held_out.any(axis=0)
    return spearman(total[compared], gains[compared])


def interval(rho: float, freedom: int) -> tuple[float, float]:
    """95 % interval of a rank correlation by Fisher's z, with `freedom` = rows - groups that were centred.

    The standard error of z is 1.03 / sqrt(freedom - 2) (Fieller, Hartley and Pearson, Biometrika 1957, whose n - 3 is
    freedom - 2 for one group); -1 to 1 where that is not defined.
    """
    if not np.isfinite(rho):
        return float("nan"), float("nan")
    if freedom <= 2:
        return -1.0, 1.0
    z, error = np.arctanh(np.clip(rho, -0.999, 0.999)), 1.03 / np.sqrt(freedom - 2)
    return float(np.tanh(z - 1.96 * error)), float(np.tanh(z + 1.96 * error))


def _comparable(rows: Sequence[Row]) -> tuple[int, int]:
    """Rows of true labels that share their group with another, and how many such groups there are."""
    sizes = Counter(row.group for row in rows if row.source != "surrogate")
    shared = [count for count in sizes.values() if count > 1]
    return sum(shared), len(shared)

"""MGRAL (arXiv 2601.15688): the order that is expected to raise mAP the most, learned from measured gains.

A gain model is fitted to batches whose ΔmAP was measured (`agent.inner_loop.plan`), a policy is trained against it by
policy gradient, and its batch is published unless the same model finds a baseline's batch as good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from agent.gain.cells import Cells
from agent.gain.rows import Row, Rows
from agent.pool.phi import Phi, describe_pool
from agent.pool.pool import Pool
from agent.strategies.base import Arrangement, Ranking, Strategy, get, register
from agent.strategies.explain import Facts, Reasons, facts
from model.progress import Report, silent

if TYPE_CHECKING:
    from agent.gain.fit import Fitted
    from agent.policy.policy import RankedRows
    from agent.policy.reinforce import Curve, ReinforceConfig

BASELINES = ("random", "least_confidence", "margin", "entropy", "coreset", "kmeanspp", "weakness", "two_stage")

TRUSTED_RHO = 0.2
"""Held-out rank correlation that the gain model is believed to have until measured gains say otherwise: until the
whole of rho's interval lies below it. What it knows beforehand earned that (docs/METHOD.md)."""

UNTRUSTED = "weakness"
"""Whose order is published where the gain model is not believed, and where nothing is known of the pool."""

SHUFFLES = 3  # passes over the pool that an image's score is the mean of
EXPLAINED = 10_000  # tasks, the first of the order, that the record says everything of
CELLS = 8  # that images are told apart by in reasons


@dataclass(frozen=True)
class MgralConfig:
    """How the agent learns, and what the benchmark's ablations turn off."""

    reinforce: ReinforceConfig | None = None
    """how the policy is trained; None: as `ReinforceConfig` says"""
    never_worse: bool = True
    """whether a baseline takes over where the agent's batch is not better"""
    chooser: Literal["policy", "greedy"] = "policy"
    """who finds the batch of the highest lower bound: the trained policy, or image by image whoever adds most"""


@register
class Mgral(Strategy):
    """The agent's order, or a baseline's where that is not worse.

    With a gain model that measured gains speak against, the order is that of `UNTRUSTED`. `Ranking.details` says whose
    order it is and why, with the estimates behind it.
    """

    name = "mgral"

    def __init__(
        self, rows: Sequence[Row] = (), cycle: int = 0, config: MgralConfig | None = None, report: Report = silent
    ) -> None:
        """`rows` are measured gains, `cycle` is the number of the present cycle, from which their age counts."""
        self.rows, self.cycle, self.config, self.report = Rows(rows), cycle, config or MgralConfig(), report

    def arrange(self, pool: Pool, budget: int, rng: np.random.Generator) -> Arrangement:
        """See `Strategy.arrange`."""
        # torch takes seconds to import, and whoever lists the strategies does not need it
        from agent.gain.fit import fit_gains
        from agent.policy.policy import KAPPA

        phi = describe_pool(pool)
        if not budget or budget >= len(pool):
            why = f"{budget} of {len(pool)} images leave nothing to choose: {UNTRUSTED} orders"
            return self._baseline(pool, phi, budget, get(UNTRUSTED).rank(pool, budget, rng), why, {})
        fitted = fit_gains(pool, phi, self.rows, self.cycle, rng)
        baselines = {name: get(name).rank(pool, budget, rng) for name in BASELINES}
        row_of = {int(image): row for row, image in enumerate(pool.ids)}
        batches = {name: np.array([row_of[int(k)] for k in r.order[:budget]]) for name, r in baselines.items()}
        drawn = {name: _draws(fitted, phi, batch) for name, batch in batches.items()}
        record = _about(fitted)
        judged = f"rho {fitted.rho:.2f}" if fitted.rho == fitted.rho else "rho unknown"
        known = f"{judged} over {len(self.rows)} measured batches"
        if self.config.never_worse and fitted.rho_interval[1] < TRUSTED_RHO:  # false where rho is unknown
            record["gains"] = _gains(drawn)
            why = f"the gain {fitted.name} is not to be believed ({known}, {TRUSTED_RHO} wanted): {UNTRUSTED} orders"
            return self._baseline(pool, phi, budget, baselines[UNTRUSTED], why, record)

        best = max(BASELINES, key=lambda name: float(drawn[name].mean()))
        ranked = self._chosen(phi, fitted, budget, batches[best], int(rng.integers(2**31)), record)
        drawn[self.name] = _draws(fitted, phi, ranked.batch)
        better = _draws(fitted, phi, ranked.batch, relative=True) - _draws(fitted, phi, batches[best], relative=True)
        record["gains"] = _gains(drawn)
        gained = record["gains"][self.name]
        margin = float(better.mean() - KAPPA * better.std(ddof=1))
        told = f"mgral {gained[0]:+.4f} ± {gained[1]:.4f} mAP, {best} {record['gains'][best][0]:+.4f}, {known}"
        if self.config.never_worse and margin < 0:
            why = f"{best} orders, because the agent's batch is not surely better: {told}"
            return self._baseline(pool, phi, budget, baselines[best], why, record)
        record |= {"chosen": self.name, "why": f"the agent orders: {told}"}
        heads = _heads(fitted, phi, ranked.order, ranked.batch)
        return self._explained(pool, phi, ranked.order, ranked.scores, heads, ranked.batch, record)

    def _chosen(
        self, phi: Phi, fitted: Fitted, budget: int, warm_start: np.ndarray, seed: int, record: dict[str, Any]
    ) -> RankedRows:
        """The agent's own order of the pool; how it learned goes into `record`."""
        from agent.policy.policy import greedy_rows, rank_rows
        from agent.policy.reinforce import ReinforceConfig, train_policy

        if self.config.chooser == "greedy":
            return greedy_rows(phi.values, fitted.model, budget)
        learning = self.config.reinforce or ReinforceConfig()
        policy, curve = train_policy(phi.values, fitted.model, budget, learning, warm_start, seed, self.report)
        record["learning_curve"] = _curve(curve)
        return rank_rows(policy, phi.values, fitted.model, budget, SHUFFLES, seed)

    def _baseline(
        self, pool: Pool, phi: Phi, budget: int, ranking: Ranking, why: str, record: dict[str, Any]
    ) -> Arrangement:
        row_of = {int(image): row for row, image in enumerate(pool.ids)}
        order = np.array([row_of[int(image)] for image in ranking.order], np.int64)
        record = record | {"chosen": ranking.strategy, "why": why}
        return self._explained(pool, phi, order, ranking.scores, ranking.reasons, order[:budget], record)

    def _explained(
        self,
        pool: Pool,
        phi: Phi,
        order: np.ndarray,
        scores: np.ndarray,
        heads: Sequence[str],
        batch: np.ndarray,
        record: dict[str, Any],
    ) -> Arrangement:
        cells = Cells.fit(phi.values, np.random.default_rng(0), CELLS, phi.columns)
        known = facts(pool, phi, cells, batch)
        record["tasks"] = _tasks(pool, phi, known, order[:EXPLAINED])
        return Arrangement(order, scores, Reasons(pool, phi, known, order, heads), record)


def _draws(fitted: Fitted, phi: Phi, batch: np.ndarray, *, relative: bool = False) -> np.ndarray:
    """(R,) estimates of a batch's ΔmAP, one a refit; the same refits for every batch."""
    sums = fitted.model.codes(np.asarray(phi.values[batch])).sum(axis=0, dtype=np.float64)[None]
    return (fitted.model.relative(sums) if relative else fitted.model.draws(sums))[0]


def _gains(drawn: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: [round(float(d.mean()), 5), round(float(d.std(ddof=1)), 5)] for name, d in drawn.items()}


def _about(fitted: Fitted) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return None if math.isnan(value) else round(float(value), 4)

    return {
        "model": fitted.name,
        "rho": number(fitted.rho),
        "rho_interval": [number(edge) for edge in fitted.rho_interval],
        "rho_table": number(fitted.rho_table),
        "rho_net": number(fitted.rho_net),
        "rows": fitted.sources,
    }


def _curve(curve: Curve) -> list[list[float]]:
    return [[update, round(float(value), 6)] for update, value in curve.values]


def _heads(fitted: Fitted, phi: Phi, order: np.ndarray, batch: np.ndarray) -> Sequence[str]:
    """What each image is told first: what it adds to those before it, or its place behind the batch."""
    codes = fitted.model.codes(np.asarray(phi.values[batch])).astype(np.float64)
    means = fitted.model.read(np.cumsum(codes, axis=0))[0]
    added = np.diff(means, prepend=0.0)
    within = [f"pick {k + 1}: adds {gain:+.5f} mAP to the picks before it" for k, gain in enumerate(added)]
    return _Heads(within, len(order))


class _Heads(Sequence[str]):
    """The batch's own words, then "place k" for the rest, made when asked for."""

    def __init__(self, within: list[str], size: int) -> None:
        self._within, self._size = within, size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: Any) -> Any:
        return self._within[place] if place < len(self._within) else f"place {place + 1} by the agent's score"


def _tasks(pool: Pool, phi: Phi, known: Facts, rows: np.ndarray) -> list[dict[str, Any]]:
    """What the record says of each of the first tasks of the order."""
    return [
        {
            "task": int(pool.ids[row]),
            "cell": int(known.cells[row]),
            "descriptors": {phi.columns[k]: round(float(phi.values[row, k]), 2) for k in known.unusual[row].tolist()},
            "nearest_labeled": int(pool.labeled_ids[known.labeled[row]])
            if pool.labeled_ids is not None and known.labeled[row] >= 0
            else None,
            "nearest_selected": int(pool.ids[known.selected[row]]) if known.selected[row] >= 0 else None,
        }
        for row in rows
    ]

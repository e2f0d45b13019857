"""MGRAL (arXiv 2601.15688): the order that is expected to raise mAP the most, learned from measured gains.

A gain model is fitted to batches whose ΔmAP was measured (`agent.inner_loop.plan`), a policy is trained against it by
policy gradient, and its batch is published unless the same model finds a baseline's batch as good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from agent.costs import LabelingCosts
from agent.gain.cells import Cells
from agent.gain.per_second import PerSecond
from agent.gain.rows import Row, Rows
from agent.pool.newness import Newness
from agent.pool.phi import Phi, describe_pool
from agent.pool.pool import Pool
from agent.rounding import rounded
from agent.strategies.base import Arrangement, Ranking, Strategy, get, register
from agent.strategies.explain import Sentences
from agent.strategies.facts import Facts, facts_of, reasons
from agent.strategies.past import Past, refuted
from model.progress import Report, silent

if TYPE_CHECKING:
    from agent.gain.fit import Fitted
    from agent.policy.policy import RankedRows
    from agent.policy.reinforce import LearningCurve, ReinforceConfig

BASELINES = ("random", "least_confidence", "margin", "entropy", "coreset", "kmeanspp", "weakness", "two_stage")

TRUSTED_RHO = 0.2
"""Held-out rank correlation that the gain model is believed to have until measured gains say otherwise: until the
whole of rho's interval lies below it. What it knows beforehand earned that (docs/METHOD.md)."""

UNTRUSTED = "two_stage"
"""Whose order is published where the gain model is not believed, and where nothing is known of the pool: of the simple
strategies the one that near-copies and empty images harm least (docs/RESULTS.md)."""

SHUFFLES = 3  # passes over the pool that an image's score is the mean of
EXPLAINED = 10_000  # tasks, the first of the order, that the record says everything of
CELLS = 8  # of the record


@dataclass(frozen=True)
class MgralConfig:
    """How the agent learns, and what the benchmark's ablations turn off."""

    reinforce: ReinforceConfig | None = None
    """how the policy is trained; None: as `ReinforceConfig` says"""
    never_worse: bool = True
    """whether a baseline takes over where the agent's batch is not better"""
    chooser: Literal["policy", "greedy"] = "policy"
    """who finds the batch of the highest lower bound: the trained policy, or image by image whoever adds most"""
    newness: bool = True
    """whether of near-copies one counts, or all alike"""
    doubt: bool = True
    """whether an image counts for what the detector is in doubt about, or for all boxes that are expected in it"""
    costs: LabelingCosts | None = None
    """of labeling an image, where the batch is to gain most by its seconds instead of by its images"""
    past: tuple[Past, ...] = ()
    """what earlier batches of the project brought, oldest first"""


@register
class Mgral(Strategy):
    """The agent's order, or a baseline's where that is not worse.

    With a gain model that measured gains speak against, the order is that of `UNTRUSTED`; also where what the project's
    last batches brought speaks against the agent's. Where it speaks against both, the order is random.
    `Ranking.details` says whose order it is and why, with the estimates behind it.
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
        from agent.gain.heat import heat
        from agent.policy.policy import KAPPA

        phi, newness = describe_pool(pool), Newness.of(pool) if self.config.newness else None
        if not budget or budget >= len(pool):
            why = f"{budget} of {len(pool)} images leave nothing to choose: {UNTRUSTED} orders"
            return self._baseline(pool, phi, budget, get(UNTRUSTED).rank(pool, budget, rng), why, {}, newness)
        fitted = fit_gains(pool, phi, self.rows, self.cycle, rng, doubt=self.config.doubt)
        table = {"table": heat(fitted.model, pool, phi, budget)}
        if self.config.costs is not None:
            fitted = replace(fitted, model=PerSecond.on(fitted.model, pool, phi, self.config.costs))
        baselines = {name: get(name).rank(pool, budget, rng) for name in BASELINES}
        batches = {name: pool.rows(ranking.order[:budget]) for name, ranking in baselines.items()}
        draws = {name: _draws(fitted, phi, newness, batch) for name, batch in batches.items()}
        record = _about(fitted) | table | ({"copies": _copies(newness)} if newness else {})
        rho = "rho unknown" if math.isnan(fitted.rho) else f"rho {fitted.rho:.2f}"
        evidence = f"{rho} over {len(self.rows)} measured batches"
        if isinstance(fitted.model, PerSecond):
            evidence += f", for the {budget * fitted.model.usual / 60:.3g} minutes of {budget} average images"
        if self.config.never_worse and fitted.rho_interval[1] < TRUSTED_RHO:  # false where rho is unknown
            record["gains"] = _gains(draws)
            why = f"the gain {fitted.name} is not to be believed ({evidence}, {TRUSTED_RHO} wanted): {UNTRUSTED} orders"
            return self._baseline(pool, phi, budget, baselines[UNTRUSTED], why, record, newness)
        if self.config.never_worse and (against := refuted(self.config.past, self.name)):
            record["gains"] = _gains(draws)
            instead = "random" if refuted(self.config.past, UNTRUSTED) else UNTRUSTED
            why = f"{against}: {instead} orders"
            return self._baseline(pool, phi, budget, baselines[instead], why, record, newness)

        best = max(BASELINES, key=lambda name: float(draws[name].mean()))
        ranked = self._chosen(phi, newness, fitted, budget, batches[best], int(rng.integers(2**31)), record)
        draws[self.name] = _draws(fitted, phi, newness, ranked.batch)
        ours, theirs = (_draws(fitted, phi, newness, rows, relative=True) for rows in (ranked.batch, batches[best]))
        better = ours - theirs
        record["gains"] = _gains(draws)
        gain, error = record["gains"][self.name]
        margin = float(better.mean() - KAPPA * better.std(ddof=1))
        figures = f"mgral {gain:+.4f} ± {error:.4f} mAP, {best} {record['gains'][best][0]:+.4f}, {evidence}"
        if self.config.never_worse and margin < 0:
            why = f"{best} orders, because the agent's batch is not surely better: {figures}"
            return self._baseline(pool, phi, budget, baselines[best], why, record, newness)
        record |= {"chosen": self.name, "why": f"the agent orders: {figures}"}
        own = _choices(fitted, phi, newness, ranked.order, ranked.batch)
        return self._explained(pool, phi, ranked.order, ranked.scores, own, ranked.batch, record, newness)

    def _chosen(
        self,
        phi: Phi,
        newness: Newness | None,
        fitted: Fitted,
        budget: int,
        warm_start: np.ndarray,
        seed: int,
        record: dict[str, Any],
    ) -> RankedRows:
        """The agent's own order of the pool; how it learned goes into `record`."""
        from agent.policy.policy import greedy_rows, rank_rows
        from agent.policy.reinforce import ReinforceConfig, train_policy

        if self.config.chooser == "greedy":
            return greedy_rows(phi.values, fitted.model, budget, newness)
        learning = self.config.reinforce or ReinforceConfig()
        policy, curve = train_policy(phi.values, fitted.model, budget, learning, warm_start, seed, self.report, newness)
        record["learning_curve"] = _curve(curve)
        return rank_rows(policy, phi.values, fitted.model, budget, SHUFFLES, seed, newness)

    def _baseline(
        self,
        pool: Pool,
        phi: Phi,
        budget: int,
        ranking: Ranking,
        why: str,
        record: dict[str, Any],
        newness: Newness | None,
    ) -> Arrangement:
        order = pool.rows(ranking.order)
        record = record | {"chosen": ranking.strategy, "why": why}
        return self._explained(pool, phi, order, ranking.scores, ranking.reasons, order[:budget], record, newness)

    def _explained(
        self,
        pool: Pool,
        phi: Phi,
        order: np.ndarray,
        scores: np.ndarray,
        own: Sequence[str],
        batch: np.ndarray,
        record: dict[str, Any],
        newness: Newness | None,
    ) -> Arrangement:
        cells = Cells.fit(phi.values, np.random.default_rng(0), CELLS, phi.columns)
        facts = facts_of(pool, phi, cells, batch)
        record["tasks"] = _tasks(pool, phi, facts, order[:EXPLAINED])
        return Arrangement(order, scores, reasons(pool, facts, order, own, newness), record)


def _draws(
    fitted: Fitted, phi: Phi, newness: Newness | None, batch: np.ndarray, *, relative: bool = False
) -> np.ndarray:
    """(R,) estimates of a batch's ΔmAP, one a refit; the same refits for every batch. Of near-copies one counts."""
    codes = fitted.model.codes(np.asarray(phi.values[batch])).astype(np.float64)
    sums = (codes.sum(axis=0) if newness is None else newness.of_each(batch) @ codes)[None]
    return (fitted.model.relative(sums) if relative else fitted.model.draws(sums))[0]


def _gains(draws: dict[str, np.ndarray]) -> dict[str, list[float]]:
    return {name: [round(float(d.mean()), 5), round(float(d.std(ddof=1)), 5)] for name, d in draws.items()}


def _about(fitted: Fitted) -> dict[str, Any]:
    return {
        "model": fitted.name,
        "rho": rounded(fitted.rho),
        "rho_interval": [rounded(edge) for edge in fitted.rho_interval],
        "rho_table": rounded(fitted.rho_table),
        "rho_net": rounded(fitted.rho_net),
        "rows": fitted.sources,
        "twins": rounded(fitted.twins),
        "counted": "doubt" if fitted.doubt else "boxes",
    }


def _curve(curve: LearningCurve) -> list[list[float]]:
    return [[update, round(float(value), 6)] for update, value in curve.values]


def _copies(newness: Newness) -> dict[str, float]:
    """Shares of the pool that are nearly the same picture as a labeled one, and as another of the pool."""
    return {"of_labeled": round(newness.copies_of_labeled(), 4), "of_others": round(newness.copies_of_others(), 4)}


def _choices(fitted: Fitted, phi: Phi, newness: Newness | None, order: np.ndarray, batch: np.ndarray) -> Sentences:
    """What each image of the batch adds to those before it, and the places of the rest."""
    codes = fitted.model.codes(np.asarray(phi.values[batch])).astype(np.float64)
    seconds = fitted.model.seconds(codes)
    if newness is not None:
        codes *= newness.of_each(batch)[:, None]
    added = np.diff(fitted.model.plain.read(np.cumsum(codes, axis=0))[0], prepend=0.0)

    def sentence(place: int) -> str:
        if place >= len(batch):
            return f"place {place + 1} by the agent's score"
        paid = f", in about {seconds[place]:.0f} s" if isinstance(fitted.model, PerSecond) else ""
        if place == 0:
            return f"the first choice, which adds {added[0]:+.5f} mAP{paid}"
        return f"adds {added[place]:+.5f} mAP to the choices before it{paid}"

    return Sentences(len(order), sentence)


def _tasks(pool: Pool, phi: Phi, facts: Facts, rows: np.ndarray) -> list[dict[str, Any]]:
    """What the record says of each of the first tasks of the order."""
    return [
        {
            "task": int(pool.ids[row]),
            "cell": int(facts.cells[row]),
            "descriptors": {phi.columns[k]: round(float(phi.values[row, k]), 2) for k in facts.unusual[row].tolist()},
            "nearest_labeled": int(pool.labeled_ids[facts.labeled[row]])
            if pool.labeled_ids is not None and facts.labeled[row] >= 0
            else None,
            "nearest_selected": int(pool.ids[facts.selected[row]]) if facts.selected[row] >= 0 else None,
        }
        for row in rows
    ]

"""Fidelity: whether the gain model orders batches as real retraining with true labels does.

From a detector trained on a few labeled images, fresh batches of the pool are each labeled and retrained on for real,
under several seeds. What two seeds of the same batch agree on is the ceiling: no estimate can be expected to follow a
retrain more closely than another retrain does. The inner loop of a cycle then measures its rows, and the gain model
fitted to them, by source, is held against the real gains.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from agent.gain.fit import fit_gains
from agent.gain.ranks import spearman
from agent.gain.rows import Rows
from agent.inner_loop.hindsight import look_back
from agent.inner_loop.plan import HINDSIGHT, SURROGATE, Plan
from agent.inner_loop.planning import PlanConfig, Planner, copied
from agent.inner_loop.proposals import propose
from agent.match_table import MatchTable
from agent.pool.images import DatasetImages
from agent.pool.phi import Phi, describe_pool
from agent.pool.pool import Pool
from agent.pool.store import Encoder, PoolStore, encoder_fingerprint
from agent.rounding import rounded
from model.atomic import write_file
from model.data.dataset import Dataset
from model.detectors.base import Detector, FitConfig
from model.detectors.open import open_detector
from model.evaluate import detect
from model.progress import Watch

CONTROL = -1  # the retrain without any batch
RESAMPLES = 2000
DIGITS = 3  # of a rank correlation
CYCLE = 1
SOURCES: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "surrogate": (SURROGATE,),
    "hindsight": (HINDSIGHT,),
    "both": (SURROGATE, HINDSIGHT),
}


@dataclass(frozen=True)
class FidelityConfig:
    """What is measured."""

    initial: int = 40
    """labeled images at the start"""
    batch: int = 24
    """images a fresh batch"""
    batches: int = 20
    seeds: int = 2
    start: FitConfig = field(default_factory=lambda: FitConfig(epochs=1, min_steps=100, image_size=192))
    """the training of the detector that the gains start from"""
    retrain: FitConfig = field(default_factory=lambda: FitConfig(epochs=1, min_steps=60, image_size=192))
    plan: PlanConfig = field(default_factory=lambda: PlanConfig(hindsight=20, surrogates=20))
    seed: int = 0


def measure(
    data: Dataset, evaluation: Dataset, weights: Detector, out: Path, config: FidelityConfig, watch: Watch
) -> dict[str, Any]:
    """Run everything that `out` does not hold yet, and return the figures; also in `out / "fidelity.json"`.

    Every retrain and every variant is kept as soon as it is done: a run that was killed goes on where it stopped.
    """
    out.mkdir(parents=True, exist_ok=True)
    start = _Start.of(data, weights, out, config, watch)
    gains, ceiling = _retrain(start, data, evaluation, out, config, watch)
    plan = _inner_loop(start, data, weights, out, config, watch)
    phi = describe_pool(start.pool)
    rows = plan.rows()
    figures: dict[str, Any] = {
        "batches": config.batches,
        "seeds": config.seeds,
        "map_start": round(start.score(evaluation), 4),
        "gains": [round(float(g), 4) for g in gains],
        "kinds": start.kinds,
        "ceiling": ceiling,
    }
    for name, sources in SOURCES.items():
        figures[name] = _against(gains, Rows(row for row in rows if row.source in sources), start, phi)
    figures["descriptors"] = {
        column: rounded(spearman(gains, [float(phi.values[rows, k].mean()) for rows in start.batches]), DIGITS)
        for k, column in enumerate(phi.columns)
        if not column.startswith("component_")
    }
    write_file(out / "fidelity.json", json.dumps(figures, indent=1).encode())
    return figures


@dataclass(frozen=True, eq=False)
class _Start:
    """Where all gains start: a detector, what it was trained on, the pool as it sees it, the fresh batches as rows."""

    detector: Detector
    labeled: tuple[int, ...]
    pool: Pool
    batches: list[np.ndarray]
    kinds: list[str]

    @classmethod
    def of(cls, data: Dataset, weights: Detector, out: Path, config: FidelityConfig, watch: Watch) -> _Start:
        """Read what was started in `out`, or start. The batches are kept, so that they never change under way."""
        ids = [image.id for image in data.images]
        file = out / "start.json"
        if not file.exists():
            labeled = sorted(np.random.default_rng(config.seed).choice(ids, config.initial, replace=False).tolist())
            train, _ = data.subset(labeled).holdout()
            detector = weights.fit(train, replace(config.start, seed=config.seed), report=partial(watch, "start"))
            detector.save(out / "start.pt")
        else:
            labeled = json.loads(file.read_text())["labeled"]
        detector = open_detector(out / "start.pt")
        _, holdout = data.subset(labeled).holdout()
        ap = MatchTable.from_dataset(holdout, detect(detector, holdout)).evaluate().ap
        store = PoolStore(out / "pool")
        encoder = Encoder(detector, encoder_fingerprint(out / "start.pt", detector))
        store.scan(encoder, DatasetImages(data), report=partial(watch, "scan"))
        pool = store.pool([image for image in ids if image not in set(labeled)], labeled, ap, detector.names)
        if not file.exists():
            proposals = propose(pool, config.batches, config.batch, np.random.default_rng(config.seed))
            body = {
                "labeled": labeled,
                "batches": [{"kind": b.kind, "ids": [int(k) for k in pool.ids[b.rows]]} for b in proposals],
            }
            write_file(file, json.dumps(body).encode())
        batches = json.loads(file.read_text())["batches"]
        rows = [pool.rows(batch["ids"]) for batch in batches]
        return cls(detector, tuple(labeled), pool, rows, [batch["kind"] for batch in batches])

    def score(self, evaluation: Dataset) -> float:
        """mAP of the detector that the gains start from."""
        return _score(self.detector, evaluation)


def _retrain(
    start: _Start, data: Dataset, evaluation: Dataset, out: Path, config: FidelityConfig, watch: Watch
) -> tuple[np.ndarray, float | None]:
    """(batches,) gains with true labels over the control, the mean over seeds; and the ceiling."""
    retrains = [(seed, k) for seed in range(config.seeds) for k in range(CONTROL, len(start.batches))]
    maps: dict[tuple[int, int], float] = {}
    for number, (seed, k) in enumerate(retrains, 1):
        file = out / f"retrain-{seed}-{k}.json"
        if not file.exists():
            added = () if k == CONTROL else start.pool.ids[start.batches[k]].tolist()
            learner = start.detector.fit(data.subset({*start.labeled, *added}), replace(config.retrain, seed=seed))
            write_file(file, json.dumps({"map": _score(learner, evaluation)}).encode())
        maps[seed, k] = json.loads(file.read_text())["map"]
        watch("retrain", number, len(retrains), map=maps[seed, k])
    gains = np.array([[maps[s, k] - maps[s, CONTROL] for k in range(len(start.batches))] for s in range(config.seeds)])
    pairs = [(a, b) for a in range(config.seeds) for b in range(a)]
    ceiling = rounded(float(np.mean([spearman(gains[a], gains[b]) for a, b in pairs])), DIGITS) if pairs else None
    return gains.mean(axis=0), ceiling


def _inner_loop(
    start: _Start, data: Dataset, weights: Detector, out: Path, config: FidelityConfig, watch: Watch
) -> Plan:
    """The plan with all its variants done. Hindsight starts from a training on half of the labeled images."""
    folder = out / "plan"
    labeled = data.subset(start.labeled)
    if not (folder / "plan.json").exists():
        labeled = copied(labeled, folder)
        train, _ = labeled.holdout()
        back = look_back(train, weights, None, config.start, partial(watch, "hindsight"))
        planner = Planner(folder, DatasetImages(data), config.plan, config.batch, CYCLE)
        planner.plan(labeled, start.pool, start.detector, back, None)
    plan = Plan.load(folder)
    plan.finish(watch)
    return plan


def _against(gains: np.ndarray, rows: Rows, start: _Start, phi: Phi) -> dict[str, Any]:
    """How the gain model fitted to some rows orders the fresh batches; without rows it is what is known beforehand."""
    fitted = fit_gains(start.pool, phi, rows, CYCLE, np.random.default_rng(0))
    estimates = [fitted.model.estimate(phi.values[batch])[0] for batch in start.batches]
    low, high = interval(gains, np.array(estimates))
    return {
        "rows": len(rows),
        "model": fitted.name,
        "rho": rounded(spearman(gains, estimates), DIGITS),
        "rho_interval": [rounded(low, DIGITS), rounded(high, DIGITS)],
        "rho_held_out": rounded(fitted.rho, DIGITS),
        "estimates": [round(value, 5) for value in estimates],
    }


def interval(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """95 % percentile bootstrap interval of Spearman's correlation over the pairs."""
    rng = np.random.default_rng(0)
    resamples = (rng.integers(0, len(a), len(a)) for _ in range(RESAMPLES))
    correlations = [rho for rows in resamples if not np.isnan(rho := spearman(a[rows], b[rows]))]
    low, high = np.quantile(correlations, [0.025, 0.975]) if correlations else (float("nan"), float("nan"))
    return float(low), float(high)


def _score(detector: Detector, evaluation: Dataset) -> float:
    return MatchTable.from_dataset(evaluation, detect(detector, evaluation)).evaluate().map

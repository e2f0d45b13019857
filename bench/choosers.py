"""Who finds the better batch by one and the same table: the policy, the policy without memory, or the greedy choice?

    python -m bench.curves --out OUT
    python -m bench.choosers --out OUT        # half a minute for each set and seed on one core

For the pool that the first model of each set and seed leaves, and the gain table with nothing measured: the lower bound
of each chooser's batch beside that of the greedy one, and the share of images that both have. A batch at random, and
the one of most expected boxes of weak classes, stand beside them. The last line is JSON.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

import numpy as np

from agent import strategies
from agent.gain.fit import fit_gains
from agent.gain.rows import Rows
from agent.policy.policy import greedy_rows, lower_bound, rank_rows
from agent.policy.reinforce import ReinforceConfig, train_policy
from agent.pool.phi import describe_pool
from agent.pool.pool import Pool
from agent.pool.store import PoolStore
from agent.simulation.run import Run
from agent.strategies.mgral import SHUFFLES
from bench.kept_curves import Kept, class_ap, model_of


def pool_of(run: Run) -> Pool:
    """What the first model left of a run's images."""
    version, measured = model_of(run, 0)
    known, names = measured["labeled"], run.pool.names
    rest = [image.id for image in run.pool.images if image.id not in set(known)]
    return PoolStore(run.start / "pool").pool(rest, known, class_ap(version, names), names)


def compare(pool: Pool, budget: int, seed: int) -> dict[str, dict[str, float]]:
    """By chooser: the lower bound of its batch over the greedy one's, images shared with that, and seconds."""
    rng = np.random.default_rng(seed)
    phi = describe_pool(pool)
    gains = fit_gains(pool, phi, Rows(), 1, rng).model

    def of_strategy(name: str) -> np.ndarray:
        order = strategies.get(name).rank(pool, budget, np.random.default_rng(seed)).order[:budget]
        return pool.rows(order)

    weakness = of_strategy("weakness")

    def of_policy(recurrent: bool) -> np.ndarray:
        config = ReinforceConfig(recurrent=recurrent)
        policy, _ = train_policy(phi.values, gains, budget, config, weakness, seed)
        return rank_rows(policy, phi.values, gains, budget, SHUFFLES, seed).batch

    choosers: dict[str, Callable[[], np.ndarray]] = {
        "greedy": lambda: greedy_rows(phi.values, gains, budget).batch,
        "policy": lambda: of_policy(True),
        "policy without memory": lambda: of_policy(False),
        "weakness": lambda: weakness,
        "random": lambda: of_strategy("random"),
    }
    told: dict[str, dict[str, float]] = {}
    codes = gains.codes(phi.values).astype(np.float64)
    reference, best = None, 0.0
    for name, choose in choosers.items():
        began = time.perf_counter()
        batch = choose()
        seconds = time.perf_counter() - began
        value = float(lower_bound(gains, codes[batch].sum(axis=0)[None])[0])
        if reference is None:
            reference, best = set(batch.tolist()), value
        shared = len(reference & set(batch.tolist())) / budget
        told[name] = {"value": round(value / best, 4), "shared": round(shared, 3), "seconds": round(seconds, 2)}
    return told


def main(arguments: Sequence[str] | None = None) -> None:
    kept = Kept.asked("python -m bench.choosers", __doc__, arguments)
    figures: dict[str, dict[str, dict[str, float]]] = {}
    for name, runs in kept.runs("mgral"):
        for run in runs:
            key = f"{name}, seed {run.seed}"
            figures[key] = told = compare(pool_of(run), run.config.batch, run.seed)
            line = "   ".join(f"{who} {on['value']:.3f} ({on['shared']:.0%})" for who, on in told.items())
            print(f"{key}: {line}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

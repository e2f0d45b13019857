"""Batches to try out: they cover what a policy will visit, so that the gain model is asked about what it has seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agent import strategies
from agent.pool.distances import squared_distances
from agent.pool.pool import Pool

# In this order, again and again: part at random, part as the baselines choose, part from one corner of the pool, part
# mixed. Few variants take the first few, so chance and the baselines that differ most come first.
KINDS = (
    "random",
    "weakness",
    "kmeanspp",
    "random",
    "entropy",
    "neighbours",
    "two_stage",
    "mixed",
    "random",
    "coreset",
    "least_confidence",
    "neighbours",
    "margin",
    "mixed",
)
MIXED = ("weakness", "kmeanspp", "entropy", "coreset")


@dataclass(frozen=True, eq=False)
class Proposal:
    """A batch to try: how it was drawn, and its rows of the pool, (size,) int64."""

    kind: str
    rows: np.ndarray


def propose(pool: Pool, count: int, size: int, rng: np.random.Generator) -> list[Proposal]:
    """`count` different batches of `size` images, each drawn from a random half of the pool, so that two of a kind
    differ."""
    return [_draw(pool, KINDS[k % len(KINDS)], min(size, len(pool)), rng) for k in range(count)]


def _draw(pool: Pool, kind: str, size: int, rng: np.random.Generator) -> Proposal:
    half = rng.permutation(len(pool))[: max(size, len(pool) // 2)]
    if kind == "random":
        rows = half[:size]
    elif kind == "neighbours":
        rows = half[np.argsort(squared_distances(pool.standardised[half], pool.standardised[half[0]]), kind="stable")]
    elif kind == "mixed":
        first, second = (_by(pool, name, half, size, rng) for name in rng.choice(MIXED, 2, replace=False))
        rows = np.concatenate([first[: size // 2], second[~np.isin(second, first[: size // 2])]])
    else:
        rows = _by(pool, kind, half, size, rng)
    return Proposal(kind, np.asarray(rows[:size], np.int64))


def _by(pool: Pool, name: str, half: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Rows of `half` in a strategy's order."""
    part = pool.take(np.sort(half))
    order = strategies.get(name).rank(part, size, rng).order
    return pool.rows(order)

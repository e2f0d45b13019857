"""What is a batch worth before any was measured? Numbers fitted to batches of many worlds, tried on other worlds.

    python -m bench.worlds --out OUT [--worlds 12]       # a quarter of an hour on two cores; the same command goes on

A world is a pool as it comes (`bench.wild_pool`) of one of SOURCES, with shares of near-copies and of empty images and
a tail of classes that are its own. In each, from each of STARTS labels, batches that differ in kind are labeled with
their true boxes, a head is learned anew (`bench.frozen`), and its mAP on the evaluation is beside that of the start: a
measured gain. Then the product estimates the same batches, as it does where nothing was measured in a project, under
every combination of GAMMAS (`agent.gain.class_curves`), SHARES (SHARE_OF_SPREAD, `agent.gain.table`) and REACHES
(`agent.pool.newness`; none: near-copies count as anything else).

What is told is the rank correlation of estimates and gains within a world and start, the mean over them. `left_out`
says, for each source, which combination is the best on all worlds of the other sources, and how well it and the
product's own do on the worlds of this one. The last line is JSON.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: a world has one core
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from agent.gain import class_curves, table
from agent.gain.fit import fit_gains
from agent.gain.ranks import spearman
from agent.gain.rows import Rows
from agent.match_table import MatchTable
from agent.pool import newness
from agent.pool.newness import Newness
from agent.pool.phi import describe_pool
from agent.pool.pool import Pool
from bench.curves import SHARED, directory_of
from bench.frozen import Head
from bench.laboratory import Laboratory, furnished, seen, strategy_of
from bench.wild_pool import WildConfig, write_wild
from model.atomic import write_file
from model.data.dataset import Dataset

SOURCES = ("scenes", "cards", "bccd", "aquarium")
IMAGES, EVALUATION = 300, 200  # of a world, at most
STARTS, BATCH = (24, 96), 24  # labels
KINDS = ("random", "mgral-greedy", "mgral-greedy-no-newness", "weakness", "two_stage", "entropy", "kmeanspp")
EACH = 3  # batches of a kind, each of a random half of the pool
GAMMAS = (0.4, 0.8, 1.2)
SHARES = (0.0, 0.1, 0.3, 0.6, 0.8, 1.0)
REACHES = (None, 0.1, 0.25, 0.4, 0.6, 0.8, 1.0)

Prior = tuple[float, float, float | None]
OURS: Prior = (class_curves.GAMMA, table.SHARE_OF_SPREAD, newness.REACH)


@dataclass(frozen=True)
class World:
    """One of them, and the seed of all that is random in it."""

    source: str
    config: WildConfig
    seed: int

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.source}-{self.seed}"


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured from one start.

    Attributes:
        pool: the unlabeled images as the head of the start sees them.
        batches: (k, BATCH) rows of the pool.
        gains: (k,) mAP over the start's.
    """

    pool: Pool
    batches: np.ndarray
    gains: np.ndarray


def worlds(count: int) -> list[World]:
    """The first of an endless list, every source in turn."""
    out = []
    for seed in range(count):
        rng = np.random.default_rng([5, seed])
        frames, empty, tail = rng.uniform(0, 0.65), rng.uniform(0, 0.3), 10 ** rng.uniform(0, 2.3)
        out.append(World(SOURCES[seed % len(SOURCES)], WildConfig(IMAGES, frames, empty, tail), seed))
    return out


def laboratory_of(world: World, out: Path) -> Laboratory:
    """The world's pool and some of its evaluation, made where they are not there."""
    folder = out / world.name
    if not (folder / "annotations.json").exists():
        source = directory_of("scenes", out) if world.source == "scenes" else SHARED / world.source
        write_wild(source, folder, world.config, world.seed)
    lab = furnished(folder, out / f"{world.name}.npz")
    images = np.random.default_rng(0).permutation(len(lab.evaluation))[:EVALUATION]
    part = Dataset(tuple(lab.evaluation.images[k] for k in images), lab.evaluation.names)
    return Laboratory(lab.pool, part, lab.features, lab.groups)


def measure(world: World, start: int, out: Path) -> Measured:
    """The gains of batches from a start; from disk where it was done."""
    lab = laboratory_of(world, out)
    rng = np.random.default_rng([world.seed, start])
    ids = [image.id for image in lab.pool.images]
    labeled = sorted(rng.choice(ids, start, replace=False).tolist())
    data = lab.pool.subset(labeled)
    train, holdout = data.holdout()
    pool = seen(lab, Head.fit(train if train.boxes else data, lab.features, world.seed), labeled, holdout)
    file = out / f"{world.name}-{start}.json"
    if not file.exists():
        batches = [batch.tolist() for batch in propose(pool, rng)]
        before, *after = [
            _score(lab, labeled + [int(pool.ids[row]) for row in batch], world.seed) for batch in ([], *batches)
        ]
        write_file(file, json.dumps({"batches": batches, "gains": [score - before for score in after]}).encode())
    told = json.loads(file.read_text())
    return Measured(pool, np.array(told["batches"]), np.array(told["gains"]))


def propose(pool: Pool, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """EACH batches of every kind, as rows of the pool."""
    for kind in KINDS:
        for _ in range(EACH):
            rows = np.sort(rng.permutation(len(pool))[: max(BATCH + 1, len(pool) // 2)])
            ranking = strategy_of(kind, 0).rank(pool.take(rows), BATCH, rng)
            yield rows[pool.take(rows).rows(ranking.order[:BATCH])]


def _score(lab: Laboratory, ids: Sequence[int], seed: int) -> float:
    """mAP of a head that learned these images, on the evaluation."""
    head = Head.fit(lab.pool.subset(sorted(ids)), lab.features, seed)
    return float(MatchTable.from_dataset(lab.evaluation, head.predict(lab.evaluation)).evaluate().map)


def estimates(measured: Measured, prior: Prior) -> np.ndarray:
    """(k,) what the product expects of the batches where nothing was measured in their project."""
    gamma, share, reach = prior
    with ExitStack() as under:
        under.enter_context(patch.object(class_curves, "GAMMA", gamma))
        under.enter_context(patch.object(table, "SHARE_OF_SPREAD", share))
        if reach is not None:
            under.enter_context(patch.object(newness, "REACH", reach))
        pool = measured.pool
        phi = describe_pool(pool)
        model = fit_gains(pool, phi, Rows(), 0, np.random.default_rng(0)).model
        new = np.ones(measured.batches.shape) if reach is None else Newness.of(pool).of_each(measured.batches)
        codes = model.codes(np.asarray(phi.values)).astype(np.float64)
        sums = np.einsum("kb,kbc->kc", new, codes[measured.batches])
        return model.draws(sums).mean(axis=1)


def correlations(world: World, out: Path) -> dict[int, dict[Prior, float]]:
    """By start and prior: how well the batches' ranks are told."""
    found: dict[int, dict[Prior, float]] = {}
    for start in STARTS:
        measured = measure(world, start, out)
        found[start] = {
            prior: spearman(estimates(measured, prior), measured.gains)
            for prior in itertools.product(GAMMAS, SHARES, REACHES)
        }
    return found


def left_out(found: Sequence[tuple[str, dict[Prior, float]]]) -> dict[str, Any]:
    """What is the best on the other sources, tried on each source.

    Args:
        found: (source, correlation by prior) of each world and start.
    """
    figures: dict[str, Any] = {}
    differences: list[float] = []
    for source in sorted({source for source, _ in found}):
        others = [by for name, by in found if name != source]
        mine = [by for name, by in found if name == source]
        if not others:
            continue
        best = max(others[0], key=lambda prior: _mean(by[prior] for by in others))
        differences += [by[best] - by[OURS] for by in mine]
        figures[source] = {
            "best_elsewhere": best,
            "rho": round(_mean(by[best] for by in mine), 3),
            "rho_ours": round(_mean(by[OURS] for by in mine), 3),
        }
    if differences:
        mean, error = float(np.mean(differences)), float(np.std(differences, ddof=1) / np.sqrt(len(differences)))
        figures["difference"], figures["error"] = round(mean, 3), round(error, 3)
    return figures


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.worlds", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--worlds", type=int, default=12)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    directory_of("scenes", options.out)  # made once, before the workers ask
    every = worlds(options.worlds)
    found: list[tuple[str, dict[Prior, float]]] = []
    with ProcessPoolExecutor(options.workers, initializer=partial(torch.set_num_threads, 1)) as workers:
        for world, by_start in zip(every, workers.map(partial(correlations, out=options.out), every), strict=True):
            for start, by in by_start.items():
                best = max(by, key=by.__getitem__)
                print(f"{world.name} from {start}: ours {by[OURS]:+.2f}, at best {by[best]:+.2f} {best}", flush=True)
                found.append((world.source, by))
    by_prior = {prior: _mean(by[prior] for _, by in found) for prior in found[0][1]}
    alone = {
        name: {value: round(_mean(rho for prior, rho in by_prior.items() if prior[k] == value), 3) for value in values}
        for k, (name, values) in enumerate((("gamma", GAMMAS), ("share", SHARES), ("reach", REACHES)))
    }
    best = max(by_prior, key=by_prior.__getitem__)
    whole = {"rho_ours": round(by_prior[OURS], 3), "best": best, "rho_best": round(by_prior[best], 3)}
    print(json.dumps({"worlds": len(every), **whole, "mean_by": alone, "left_out": left_out(found)}))


if __name__ == "__main__":
    main()

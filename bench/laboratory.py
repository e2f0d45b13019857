"""Which order learns most from its labels, in seconds a run: a frozen body, its features kept, a linear head.

    python -m bench.laboratory --out OUT [--sets wild-cards,wild-bccd,...] [--seeds 0-9] [--strategies random,...,mgral]

Whole trainings on a CPU take half an hour a curve, so that few seeds can be paid for. Here everything is as in
`bench.curves` (one trainer, one start, one budget; only the order differs), but that the detector is a body trained on
COCO whose features are cached, and that each training learns a 1x1 head anew, in seconds. It tells candidates apart;
whole trainings then have to confirm it. It cannot say what a learning body makes of the labels.

A strategy of mgral's with `+minutes` behind its name chooses by gain a second of labeling, `+counts` tells it the true
boxes of labeled images; `+shrunk` and `+ridge` believe the expected boxes less (`bench.beliefs`). With these three, and
with `+expected`, an image counts for all its expected boxes, and not for the detector's doubt. A run's JSON is written
when it is over; the same command goes on. Areas are beside random's under the same seeds, with a 95 % bootstrap
interval over seeds: by images, by boxes, and by minutes at the default costs of `agent.costs`. The last line is JSON.
`copies` counts the chosen images whose scene was labeled before, where the set tells scenes (`bench.wild_pool`).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch: a run has one core
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from agent import strategies
from agent.costs import LabelingCosts
from agent.match_table import MatchTable
from agent.pool.descriptors import describe
from agent.pool.pool import Pool
from agent.strategies.mgral import Mgral, MgralConfig
from bench.beliefs import second_look, shrunk
from bench.curves import SETS, WILD, directory_of
from bench.frozen import Features, Head
from bench.wild_pool import scenes_of
from model.atomic import write_file
from model.data.dataset import Dataset
from model.data.directories import open_directory

STRATEGIES = ("random", "mgral", "mgral-greedy", "weakness", "entropy", "two_stage", "kmeanspp", "coreset")
SIZES = {name: (sizes.initial, sizes.batch) for name, sizes in (SETS | WILD).items()}
CYCLES = 5
DRAWS = 1000
COUNTS, MINUTES, SHRUNK, RIDGE = "+counts", "+minutes", "+shrunk", "+ridge"  # behind a strategy's name


@dataclass(frozen=True)
class Laboratory:
    """A set with its features: what every run on it shares."""

    pool: Dataset
    evaluation: Dataset
    features: Features
    groups: dict[int, int]


@lru_cache
def laboratory(name: str, out: Path) -> Laboratory:
    """Open a set, or make it; features are cached in `out`."""
    return furnished(directory_of(name, out), out / f"{name}.npz")


def furnished(folder: Path, features: Path) -> Laboratory:
    """A laboratory for a labeled directory; its features are cached in a file."""
    data = open_directory(folder)
    pool, evaluation = data.pool_and_evaluation()
    found = Features.of(Dataset(pool.images + evaluation.images, data.names), features)
    return Laboratory(pool, evaluation, found, scenes_of(folder))


def run(name: str, strategy: str, seed: int, out: Path) -> dict[str, Any]:
    """One curve, from disk where it is done."""
    file = out / name / f"{strategy}-{seed}.json"
    if file.exists():
        return json.loads(file.read_text())
    lab, (initial, batch) = laboratory(name, out), SIZES[name]
    by_id = {image.id: image for image in lab.pool.images}
    rng = np.random.default_rng(seed)
    labeled = sorted(rng.choice(list(by_id), initial, replace=False).tolist())
    maps, boxes, copies, began = [], [], 0, time.monotonic()
    for cycle in range(CYCLES + 1):
        data = lab.pool.subset(labeled)
        train, holdout = data.holdout()
        head = Head.fit(train if train.boxes else data, lab.features, seed)
        table = MatchTable.from_dataset(lab.evaluation, head.predict(lab.evaluation))
        maps.append(float(table.evaluate().map))
        boxes.append(data.boxes)
        if cycle == CYCLES:
            break
        pool = seen(lab, head, labeled, holdout)
        if COUNTS in strategy:
            pool = replace(pool, labeled_expected=_counts(lab, pool.labeled_ids))
        if RIDGE in strategy:
            pool = second_look(pool, _counts(lab, pool.labeled_ids))
        if SHRUNK in strategy:
            told = [describe(found)[4 + len(pool.names) :] for found in head.predict(holdout)]
            held = np.array([image.id for image in holdout.images], np.int64)
            pool = shrunk(pool, np.reshape(told, (-1, len(pool.names))), _counts(lab, held))
        ranking = strategy_of(strategy, cycle).rank(pool, batch, np.random.default_rng([seed, cycle]))
        chosen = [int(image) for image in ranking.order[:batch]]
        scenes = {lab.groups.get(image) for image in labeled}
        for image in chosen:
            copies += lab.groups.get(image) in scenes if lab.groups else 0
            scenes.add(lab.groups.get(image))
        labeled = sorted(labeled + chosen)
    empty = sum(not len(by_id[image].class_ids) for image in labeled)
    body = {"map": maps, "boxes": boxes, "copies": copies, "empty": empty, "seconds": time.monotonic() - began}
    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, json.dumps(body).encode())
    return body


def seen(lab: Laboratory, head: Head, labeled: Sequence[int], holdout: Dataset) -> Pool:
    """The unlabeled images as the model of a cycle sees them."""
    ap = np.full(len(lab.pool.names), -1.0)
    if holdout.boxes:
        ap = MatchTable.from_dataset(holdout, head.predict(holdout)).evaluate().ap
    summaries = np.stack([describe(found) for found in head.predict(lab.pool)]).astype(np.float32)
    ids = np.array([image.id for image in lab.pool.images])
    encodings, known = lab.features.encodings(ids), np.isin(ids, labeled)
    return Pool.from_summaries(
        ids[~known],
        summaries[~known],
        encodings[~known],
        lab.pool.names,
        encodings[known],
        ap,
        labeled_ids=ids[known],
        labeled_summaries=summaries[known],
    )


def _counts(lab: Laboratory, ids: np.ndarray | None) -> np.ndarray:
    """(m, C) true boxes of labeled images, in the place of those that the detector expects."""
    assert ids is not None
    images, classes = lab.pool.subset(ids.tolist()).images, len(lab.pool.names)
    counts = [np.bincount(image.class_ids, minlength=classes) for image in images]
    return np.reshape(counts, (-1, classes)).astype(np.float32)


def strategy_of(name: str, cycle: int) -> strategies.Strategy:
    costs = LabelingCosts() if MINUTES in name else None
    usual = MgralConfig(costs=costs, doubt="+" not in name.replace(MINUTES, ""))
    name, *_ = name.partition("+")
    if name == "mgral":
        return Mgral((), cycle, usual)
    if name == "mgral-greedy":
        return Mgral((), cycle, replace(usual, chooser="greedy", never_worse=False))
    if name == "mgral-greedy-no-newness":
        return Mgral((), cycle, replace(usual, chooser="greedy", never_worse=False, newness=False))
    if name == "mgral-no-newness":
        return Mgral((), cycle, replace(usual, newness=False))
    if costs is not None:
        raise ValueError(f"{name}{MINUTES}: only mgral's strategies choose by minutes")
    return strategies.get(name)


def summary(runs: dict[str, dict[int, dict[str, Any]]], initial: int, batch: int) -> dict[str, Any]:
    """Each strategy's area over random's by images, boxes and minutes, the share of its labels, copies and empties."""
    rng = np.random.default_rng(0)
    seeds = sorted(runs["random"])
    maps = {name: np.array([by[seed]["map"] for seed in seeds]) for name, by in runs.items()}
    draws = rng.integers(0, len(seeds), (DRAWS, len(seeds)))
    area = {name: (values[:, 1:] + values[:, :-1]).mean(axis=1) / 2 for name, values in maps.items()}
    minutes = partial(_minutes, images=initial + batch * np.arange(CYCLES + 1))
    figures = {}
    for name, by in runs.items():
        drawn = area[name][draws].mean(axis=1) / area["random"][draws].mean(axis=1)
        by_boxes, by_minutes = (
            np.array([_area_over_random(by[s], runs["random"][s], spent) for s in seeds]) for spent in (_boxes, minutes)
        )
        figures[name] = {
            "area": round(float(area[name].mean() / area["random"].mean()), 3),
            "interval": [round(float(edge), 3) for edge in np.quantile(drawn, [0.025, 0.975])],
            "by_boxes": round(float(by_boxes.mean()), 3),
            "by_minutes": round(float(by_minutes.mean()), 3),
            "by_minutes_interval": [
                round(float(edge), 3) for edge in np.quantile(by_minutes[draws].mean(axis=1), [0.025, 0.975])
            ],
            "labels": _labels(maps[name].mean(axis=0), float(maps["random"][:, -1].mean())),
            "final": round(float(maps[name][:, -1].mean()), 3),
            "boxes": round(float(np.mean([by[seed]["boxes"][-1] for seed in seeds]))),
            "copies": round(float(np.mean([by[seed]["copies"] for seed in seeds])), 1),
            "empty": round(float(np.mean([by[seed]["empty"] for seed in seeds])), 1),
            "seconds": round(float(np.mean([by[seed]["seconds"] for seed in seeds])), 1),
        }
    return figures


def _boxes(run: dict[str, Any]) -> np.ndarray:
    """Drawn at each point of a run."""
    return np.array(run["boxes"], float)


def _minutes(run: dict[str, Any], images: np.ndarray) -> np.ndarray:
    """Of labeling at each point of a run, where it had so many images."""
    return LabelingCosts().minutes(images, _boxes(run))


def _area_over_random(run: dict[str, Any], random: dict[str, Any], spent: Callable[[dict], np.ndarray]) -> float:
    """Mean height over what a run spent, beside that of random's curve there; beyond its end random keeps its last
    height."""
    x = spent(run)
    grid = np.linspace(x[0], max(x[-1], x[0] + 1), 200)
    mine, theirs = (np.interp(grid, spent(one), one["map"]) for one in (run, random))
    return float(mine.mean() / theirs.mean())


def _labels(curve: np.ndarray, goal: float) -> float | None:
    """Share of all batches after which the mean curve reaches random's final mAP, by linear interpolation."""
    above = np.flatnonzero(curve >= goal)
    if not len(above):
        return None
    k = int(above[0])
    if k == 0:
        return 0.0
    return round((k - 1 + (goal - curve[k - 1]) / (curve[k] - curve[k - 1])) / (len(curve) - 1), 2)


def numbers(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.laboratory", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(WILD))
    parser.add_argument("--seeds", default="0-9", type=numbers)
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = {}
    names = options.strategies.split(",")
    with ProcessPoolExecutor(options.workers, initializer=partial(torch.set_num_threads, 1)) as workers:
        for name in options.sets.split(","):
            laboratory(name, options.out)  # made once, before the workers ask
            asked = [(seed, strategy) for seed in options.seeds for strategy in names]
            curves = workers.map(run, *zip(*((name, s, seed, options.out) for seed, s in asked), strict=True))
            runs: dict[str, dict[int, dict[str, Any]]] = {strategy: {} for strategy in names}
            for (seed, strategy), curve in zip(asked, curves, strict=True):
                runs[strategy][seed] = curve
                print(f"{name} seed {seed} {strategy}: {curve['map'][-1]:.3f}", flush=True)
            figures[name] = summary(runs, *SIZES[name])
            for strategy, about in figures[name].items():
                print(f"{name:12} {strategy:14} {json.dumps(about)}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

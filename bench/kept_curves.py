"""What the benches share that read off what bench.curves left: which runs, and what their models knew."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agent.simulation.run import Run
from bench.curves import SETS, config_of, data_of
from model.data.dataset import LabeledImage
from model.versions import Version, VersionStore


@dataclass(frozen=True)
class Kept:
    """The part of a directory of bench.curves that a command asks for."""

    out: Path
    sets: tuple[str, ...]
    seeds: tuple[int, ...]

    @classmethod
    def asked(cls, program: str, description: str | None, arguments: Sequence[str] | None) -> Kept:
        """By --out, --sets and --seeds."""
        parser = argparse.ArgumentParser(prog=program, description=(description or "").splitlines()[0])
        parser.add_argument("--out", type=Path, required=True)
        parser.add_argument("--sets", default=",".join(SETS))
        parser.add_argument("--seeds", default="0,1,2")
        options = parser.parse_args(arguments)
        seeds = tuple(int(seed) for seed in options.seeds.split(","))
        return cls(options.out, tuple(options.sets.split(",")), seeds)

    def runs(self, *strategies: str) -> Iterator[tuple[str, list[Run]]]:
        """The runs of these strategies under every seed, set by set."""
        for name in self.sets:
            config, (pool, evaluation) = config_of(name, strategies, self.seeds), data_of(name, self.out)
            folder = self.out / Path(name).name
            yield (
                name,
                [Run(folder, pool, evaluation, config, which, seed) for seed in self.seeds for which in strategies],
            )


def model_of(run: Run, cycle: int) -> tuple[Version, dict[str, Any]]:
    """The version that a run had at its start (0) or end, and what was measured of it."""
    version = VersionStore((run.folder if cycle else run.start) / "versions").serving()
    figures = run.measured(cycle)
    if version is None or figures is None:
        raise SystemExit(f"{run.at(cycle)} holds no model: run bench.curves first")
    return version, figures


def class_ap(version: Version, names: Sequence[str]) -> np.ndarray:
    """(C,) AP of each class on the version's holdout, -1 where unknown."""
    per_class = version.metrics["per_class"] if version.metrics else {}
    return np.array([per_class.get(name, -1.0) for name in names])


def counts(images: Sequence[LabeledImage], classes: int) -> np.ndarray:
    """(n, C) true boxes of each class."""
    rows = [np.bincount(image.class_ids, minlength=classes) for image in images]
    return np.array(rows, np.float64).reshape(-1, classes)


def learned(run: Run, labeled: Sequence[int]) -> np.ndarray:
    """(C,) boxes of each class that a model learned from, whose labeled images these are: without their holdout's."""
    return counts(run.pool.subset(labeled).holdout()[0].images, len(run.pool.names)).sum(axis=0)

"""Does the product's order save labels? Active-learning curves of every strategy on three data sets.

    python -m bench.curves --out DIR                         # some hours on two cores; the same command goes on
    python -m bench.curves --out DIR --ablation              # mgral with one part changed, beside it
    python -m bench.curves --out DIR --sets cards --seeds 0  # a part of it

One trainer, one start, one budget; docs/RESULTS.md says what came out. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.simulation.ablations import ABLATIONS
from agent.simulation.config import SimulationConfig
from agent.simulation.grid import simulate
from backend.commands.simulation_view import View, verdict
from model.data.dataset import Dataset
from model.data.directories import open_directory
from model.detectors.base import FitConfig
from model.synthetic.scenes import write_scenes

STRATEGIES = (
    "random",
    "mgral",
    "weakness",
    "entropy",
    "two_stage",
    "kmeanspp",
    "coreset",
    "margin",
    "least_confidence",
)
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SCENES, SCENES_POOL, SCENES_SEED = 500, 250, 11


@dataclass(frozen=True)
class Sizes:
    """Of a data set's experiment: labels at the start and a cycle, the last one near half of the pool."""

    initial: int
    batch: int


SETS = {"cards": Sizes(24, 24), "bccd": Sizes(8, 18), "scenes": Sizes(20, 20)}
CYCLES = 5
IMAGE_SIZE = 128  # pixels; a training at 160 takes half as long again
FIRST_UPDATES, UPDATES, TRAIN_BATCH = 240, 80, 8


def data_of(name: str, out: Path) -> tuple[Dataset, Dataset]:
    """(pool, evaluation) of a set; scenes are made."""
    if name != "scenes":
        return open_directory(SHARED / name).pool_and_evaluation()
    scenes = write_scenes(out / "scenes-data", SCENES, SCENES_SEED)
    split = tuple(replace(i, split="train" if i.id <= SCENES_POOL else "val") for i in scenes.images)
    return Dataset(split, scenes.names).pool_and_evaluation()


def config_of(name: str, strategies: tuple[str, ...], seeds: tuple[int, ...]) -> SimulationConfig:
    """The experiment on a set."""
    sizes = SETS[name]
    fit = FitConfig(epochs=1, min_steps=UPDATES, batch=TRAIN_BATCH, image_size=IMAGE_SIZE)
    return SimulationConfig(
        strategies, sizes.initial, sizes.batch, CYCLES, seeds, fit=fit, first_steps=FIRST_UPDATES, base="newest"
    )


def overall(summaries: dict[str, Any]) -> dict[str, Any]:
    """Each strategy's area over random's, by set and their mean."""
    names = [name for name in next(iter(summaries.values()))["strategies"] if name != "random"]
    table = {
        name: {of: summary["strategies"][name]["area_over_random"] for of, summary in summaries.items()}
        for name in names
    }
    return {name: by | {"mean": round(sum(by.values()) / len(by), 4)} for name, by in table.items()}


def markdown(summaries: dict[str, Any]) -> str:
    """The table of docs/RESULTS.md: area over random's with its interval, and the share of random's labels; of an
    ablation also the area over mgral's."""
    names = list(next(iter(summaries.values()))["strategies"])
    lines = ["| | " + " | ".join(summaries) + " |", "|---" * (1 + len(summaries)) + "|"]
    for name in names:
        cells = []
        for summary in summaries.values():
            about = summary["strategies"][name]
            if "area_over_random" not in about:
                cells.append(f"area {about['area']:.3f}")
                continue
            low, high = about["area_over_random_interval"]
            share = about["labels_for_final_of_random"]
            labels = "> 100 %" if share is None else f"{share:.0%}".replace("%", " %")
            cell = f"{about['area_over_random']:.3f} [{low:.2f}, {high:.2f}], {labels}"
            if "area_over_mgral" in about:
                low, high = about["area_over_mgral_interval"]
                cell += f"; {about['area_over_mgral']:.3f} [{low:.2f}, {high:.2f}] of mgral's"
            cells.append(cell)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.curves", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--ablation", action="store_true", help="random, mgral and its ablations")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    strategies = ("random", "mgral", *ABLATIONS) if options.ablation else tuple(options.strategies.split(","))
    seeds = tuple(int(seed) for seed in options.seeds.split(","))
    summaries: dict[str, Any] = {}
    for name in options.sets.split(","):
        config = config_of(name, strategies, seeds)
        with View(config) as view:
            pool, evaluation = data_of(name, options.out)
            summaries[name] = simulate(pool, evaluation, config, options.out / name, options.workers, view)
        print(f"{name}, {verdict(summaries[name])}", flush=True)
    print(markdown(summaries))
    print(json.dumps({"area_over_random": overall(summaries), "sets": summaries}))


if __name__ == "__main__":
    main()

"""Does the product's order save labels? Active-learning curves of every strategy on three data sets.

    python -m bench.curves --out DIR                         # some hours on two cores; the same command goes on
    python -m bench.curves --out DIR --sets wild-cards,wild-bccd,wild-scenes   # pools as they come: bench.wild_pool
    python -m bench.curves --out DIR --sets ../shared/data/aquarium            # any labeled directory
    python -m bench.curves --out DIR --ablation              # mgral with one part changed, beside it
    python -m bench.curves --out DIR --sets cards --seeds 0  # a part of it
    python -m bench.curves --out DIR --detector ../shared/data/weights/coco_v5n.pt   # from COCO, as many users start

One trainer, one start, one budget; docs/RESULTS.md says what came out. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.simulation.ablations import ABLATIONS
from agent.simulation.config import SimulationConfig
from agent.simulation.grid import simulate
from backend.commands.simulation_view import View, verdict
from bench.wild_pool import write_wild
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
MORE = 200  # scenes of a wild pool's source


@dataclass(frozen=True)
class Sizes:
    """Of a data set's experiment: labels at the start and a cycle, the last one near half of the pool."""

    initial: int
    batch: int


SETS = {"cards": Sizes(24, 24), "bccd": Sizes(8, 18), "scenes": Sizes(20, 20)}
WILD_SIZES = Sizes(24, 24)
WILD = {f"wild-{name}": WILD_SIZES for name in SETS}
CYCLES = 5
IMAGE_SIZE = 128  # pixels; a training at 160 takes half as long again
FIRST_UPDATES, UPDATES, TRAIN_BATCH = 240, 80, 8


def data_of(name: str, out: Path) -> tuple[Dataset, Dataset]:
    """(pool, evaluation) of a set of SETS or WILD."""
    dataset = open_directory(directory_of(name, out))
    for note in dataset.notes:
        print(f"note: {note}", file=sys.stderr)
    return dataset.pool_and_evaluation()


def directory_of(name: str, out: Path) -> Path:
    """Where a set lies; scenes and wild pools are made in `out`, once. A path is a labeled directory of any kind."""
    if "/" in name:
        return Path(name)
    if name in WILD:
        return _made(out / f"{name}-data", lambda folder: write_wild(_source(name.removeprefix("wild-"), out), folder))
    if name == "scenes":
        return _made(out / "scenes-data", lambda folder: _scenes(folder, SCENES, SCENES_POOL))
    return SHARED / name


def _source(name: str, out: Path) -> Path:
    """The photographs that a wild pool is made of: of scenes more than the curated set has."""
    if name != "scenes":
        return SHARED / name
    return _made(out / "wild-scenes-source", lambda folder: _scenes(folder, SCENES + MORE, SCENES_POOL + MORE))


def _scenes(folder: Path, count: int, pool: int) -> None:
    """Scenes, the first `pool` of them to choose from, the others to evaluate on."""
    write_scenes(folder, count, SCENES_SEED)
    body = json.loads((folder / "annotations.json").read_text())
    for image in body["images"]:
        image["split"] = "train" if image["id"] <= pool else "val"
    (folder / "annotations.json").write_text(json.dumps(body))


def _made(folder: Path, make: Callable[[Path], object]) -> Path:
    """The folder, made where it is not there whole."""
    if not folder.exists():
        temporary = folder.with_name(f".tmp-{folder.name}")
        shutil.rmtree(temporary, ignore_errors=True)
        make(temporary)
        temporary.replace(folder)
    return folder


def config_of(
    name: str, strategies: tuple[str, ...], seeds: tuple[int, ...], weights: str = "starter"
) -> SimulationConfig:
    """The experiment on a set, from these weights; on a labeled directory as on a pool as it comes."""
    sizes = (SETS | WILD).get(name, WILD_SIZES)
    fit = FitConfig(epochs=1, min_steps=UPDATES, batch=TRAIN_BATCH, image_size=IMAGE_SIZE)
    return SimulationConfig(
        strategies,
        sizes.initial,
        sizes.batch,
        CYCLES,
        seeds,
        fit=fit,
        first_steps=FIRST_UPDATES,
        base="newest",
        weights=weights,
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
    parser.add_argument("--detector", default="starter", help="the weights that trainings start from")
    parser.add_argument("--ablation", action="store_true", help="random, mgral and its ablations")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    strategies = ("random", "mgral", *ABLATIONS) if options.ablation else tuple(options.strategies.split(","))
    seeds = tuple(int(seed) for seed in options.seeds.split(","))
    summaries: dict[str, Any] = {}
    for name in options.sets.split(","):
        config = config_of(name, strategies, seeds, options.detector)
        with View(config) as view:
            pool, evaluation = data_of(name, options.out)
            summaries[name] = simulate(pool, evaluation, config, options.out / Path(name).name, options.workers, view)
        print(f"{name}, {verdict(summaries[name])}", flush=True)
    print(markdown(summaries))
    print(json.dumps({"area_over_random": overall(summaries), "sets": summaries}))


if __name__ == "__main__":
    main()

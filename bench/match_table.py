"""How fast, and how exact, is mAP by look-up? The match table beside what people use.

    python -m bench.match_table                     # a few minutes on one core
    python -m bench.match_table --plot times.svg    # and time against the number of images, for all of them
    python -m bench.match_table --quick             # seconds, small data: does it run

All of them answer for the same random subsets, in turns in one process on one thread, and the medians are compared.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np

from agent.match.parse import from_coco
from agent.match_table import MatchTable
from bench import ap_peers
from bench.detection_data import COCO, VOC, Shape, make

OURS = "match table"
PEERS: dict[str, Callable[[dict, list[dict]], ap_peers.Query]] = {
    "pycocotools": lambda g, d: ap_peers.coco_eval("pycocotools", g, d),
    "faster-coco-eval": lambda g, d: ap_peers.coco_eval("faster_coco_eval", g, d),
    "ultralytics": ap_peers.ultralytics,
    "torchmetrics": ap_peers.torchmetrics,
}


def timed(function: Callable[..., Any], *arguments: Any) -> tuple[float, Any]:
    """(seconds, result) of a call."""
    start = time.perf_counter()
    result = function(*arguments)
    return time.perf_counter() - start, result


def subsets(table: MatchTable, size: int, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.choice(table.image_ids, size, replace=False) for _ in range(count)]


def compare(
    table: MatchTable,
    peers: dict[str, ap_peers.Query],
    size: int,
    rounds: int,
    rng: np.random.Generator,
    slow_rounds: int = 1,
) -> dict[str, Any]:
    """Median seconds a query over subsets of `size`, all in turns, and how far each is from pycocotools.

    Ours is asked 50 times a round, about subsets that change every time; torchmetrics only in `slow_rounds` rounds.
    """
    times: dict[str, list[float]] = {name: [] for name in (OURS, *peers)}
    error: dict[str, float] = dict.fromkeys(times, 0.0)
    for number, chosen in enumerate(subsets(table, size, rounds, rng)):
        results: dict[str, dict] = {}
        for name, query in peers.items():
            if name == "torchmetrics" and number >= slow_rounds:
                continue
            spent, results[name] = timed(query, chosen.tolist())
            times[name].append(spent)
        times[OURS] += [timed(table.evaluate, other)[0] for other in subsets(table, size, 50, rng)]
        ours = table.evaluate(chosen)
        results[OURS] = {"map": ours.map, "map50": ours.map50, "map75": ours.map75, **ours.per_class}
        for name, result in results.items():
            against = results["pycocotools"]
            error[name] = max(error[name], *(abs(result[key] - against[key]) for key in result if key in against))
    return {"seconds": {name: statistics.median(t) for name, t in times.items()}, "error": error}


def build_times(ground_truth: dict, detections: list[dict], repeat: int) -> tuple[float, float]:
    """Median µs an image to build a table from the dicts, and of it to read the dicts."""
    images = len(ground_truth["images"])
    whole = [timed(MatchTable.build, ground_truth, detections)[0] for _ in range(repeat)]
    parse = [timed(from_coco, ground_truth, detections)[0] for _ in range(repeat)]
    return statistics.median(whole) / images * 1e6, statistics.median(parse) / images * 1e6


def incremental(table: MatchTable, size: int, steps: int, rng: np.random.Generator) -> tuple[float, float]:
    """Median seconds of a whole query of `size` images, and of adding one image to a running subset of that size."""
    order = rng.permutation(table.image_ids).tolist()
    running = table.running(order[: size - steps])
    running.scores()

    def add(image: int) -> None:
        running.add(image)
        running.scores()

    whole, one = [], []
    for k in range(size - steps, size):
        one.append(timed(add, order[k])[0])
        whole.append(timed(table.evaluate, np.array(order[: k + 1]))[0])
    return statistics.median(whole), statistics.median(one)


def bootstrap_seconds(ground_truth: dict, detections: list[dict], images: int, n: int) -> float:
    """Seconds for `n` weightings of a table of `images` images, the fastest of three."""
    ids = {image["id"] for image in ground_truth["images"][:images]}
    part = ground_truth | {
        "images": ground_truth["images"][:images],
        "annotations": [a for a in ground_truth["annotations"] if a["image_id"] in ids],
    }
    table = MatchTable.build(part, [d for d in detections if d["image_id"] in ids])
    table.bootstrap(2, rng=0)  # compiled
    return min(timed(table.bootstrap, n, 0)[0] for _ in range(3))


def measure(name: str, shape: Shape, size: int, rounds: int, seed: int) -> tuple[dict[str, float], Any]:
    """All figures of one data set, printed; also what a plot needs."""
    ground_truth, detections = make(shape, seed)
    rng = np.random.default_rng(seed)
    table = MatchTable.build(ground_truth, detections)
    built, parsed = build_times(ground_truth, detections, 3)
    peers = {peer: prepare(ground_truth, detections) for peer, prepare in PEERS.items()}
    table.evaluate(table.image_ids[:size])
    result = compare(table, peers, size, rounds, rng)
    times, error = result["seconds"], result["error"]
    whole, one = incremental(table, size, min(200, size // 2), rng)
    n = 1000 if rounds > 1 else 50
    boot = bootstrap_seconds(ground_truth, detections, size, n)
    print(f"\n{name}: {size} of {shape.images} images, {len(detections) / shape.images:.0f} detections an image")
    print(f"{'':18}{'ms a query':>12}{'x slower':>10}{'from pycocotools':>20}")
    for peer, t in times.items():
        print(f"{peer:18}{t * 1e3:12.3f}{t / times[OURS]:10.0f}{error[peer]:20.1e}")
    print(f"build            {built:8.0f} µs an image, {parsed:.0f} of it to read the dicts")
    print(f"size             {table.nbytes / table.detections:8.1f} bytes a detection")
    print(f"one image more   {one * 1e6:8.0f} µs, {whole / one:.1f} times faster than the whole query")
    print(f"bootstrap        {boot:8.2f} s for {n} weightings of {size} images")
    figures = {
        "ratio_pycocotools": times["pycocotools"] / times[OURS],
        "ratio_faster_coco_eval": times["faster-coco-eval"] / times[OURS],
        "ratio_torchmetrics": times["torchmetrics"] / times[OURS],
        "ratio_ultralytics": times["ultralytics"] / times[OURS],
        "queries_per_second": 1 / times[OURS],
        "build_us_per_image": built,
        "build_us_per_image_without_reading": built - parsed,
        "bytes_per_detection": table.nbytes / table.detections,
        "incremental_gain": whole / one,
        "max_abs_diff": error[OURS],
        "error_faster_coco_eval": error["faster-coco-eval"],
        "error_torchmetrics": error["torchmetrics"],
        "error_ultralytics": error["ultralytics"],
        "bootstrap_seconds": boot,
    }
    return figures, (table, peers, rng)


def plot(path: Path, sizes: Sequence[int], table: MatchTable, peers: dict, rng: np.random.Generator) -> None:
    """Time a query against the number of images, one line a tool. torchmetrics stops at 1,000 images for patience."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    times: dict[str, list[tuple[int, float]]] = {}
    for size in sizes:
        able = {name: query for name, query in peers.items() if name != "torchmetrics" or size <= 1000}
        for name, t in compare(table, able, size, 1, rng)["seconds"].items():
            times.setdefault(name, []).append((size, t * 1e3))
    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    for name, points in times.items():
        axes.loglog(
            *zip(*points, strict=True), marker="o", markersize=4, linewidth=3 if name == OURS else 1.5, label=name
        )
    axes.set(xlabel="images in the query", ylabel="milliseconds a query", title="mAP of a subset")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path)
    plt.close(figure)
    print(f"\nplot: {path}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.match_table", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small data: seconds instead of minutes")
    parser.add_argument("--plot", type=Path, metavar="PATH", help="write time against pool size (SVG, PNG, ...)")
    parser.add_argument("--seed", type=int, default=0, help="of the data and the subsets (default 0)")
    options = parser.parse_args(arguments)
    import torch

    numba.set_num_threads(1)
    torch.set_num_threads(1)
    images, size, rounds = (80, 40, 1) if options.quick else (None, 1000, 5)
    shapes = [replace(shape, images=images or shape.images) for shape in (COCO, VOC)]
    coco, (table, peers, rng) = measure("COCO-like", shapes[0], size, rounds, options.seed)
    voc, _ = measure("VOC-like", shapes[1], size, rounds, options.seed + 1)
    if options.plot:
        sizes = [s for s in (10, 30, 100, 300, 1000, 3000, 5000) if s <= len(table)]
        plot(options.plot, sizes, table, peers, rng)
    print(json.dumps(coco | {f"voc_{key}": value for key, value in voc.items()}))


if __name__ == "__main__":
    main()

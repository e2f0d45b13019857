"""What a simulation leaves for people: results.csv, summary.json, curves and a gallery."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from agent.rounding import rounded
from agent.simulation.curves import Curves, area, interval, resample
from agent.simulation.run import Run
from model.atomic import write_file

COLUMNS = ("strategy", "seed", "cycle", "labeled", "map", "map50", "seconds", "boxes", "minutes", "chosen_by", "rho")
RANDOM = "random"
AGENT = "mgral"


def write_report(runs: Sequence[Run]) -> dict[str, Any]:
    """Write what is known, and return the summary: it covers the seeds that every strategy has finished."""
    out = runs[0].out
    _write_results(out / "results.csv", runs)
    seeds = [
        seed
        for seed in dict.fromkeys(run.seed for run in runs)
        if all(run.measured(run.config.cycles) is not None for run in runs if run.seed == seed)
    ]
    if not seeds:
        return {"seeds": []}
    complete = [run for run in runs if run.seed in seeds]
    curves = collect(complete)
    about = {"seeds": seeds, "cycle": _of_cycles(complete), "notes": list(runs[0].pool.notes)}
    summary = summarise(curves) | about
    write_file(out / "summary.json", json.dumps(summary, indent=1).encode())
    from agent.simulation.figures import draw_curves  # matplotlib takes a second to import
    from agent.simulation.gallery import draw_gallery

    draw_curves(curves, summary, out)
    draw_gallery([run for run in complete if run.seed == seeds[0]], out / "gallery.jpg")
    return summary


def collect(runs: Sequence[Run]) -> Curves:
    """The curves of finished runs: every strategy under every seed."""
    names = tuple(dict.fromkeys(run.strategy for run in runs))
    seeds = list(dict.fromkeys(run.seed for run in runs))
    by = {(run.strategy, run.seed): run for run in runs}
    points = range(runs[0].config.cycles + 1)
    cells = [[[by[name, seed].measured(k) or {} for k in points] for seed in seeds] for name in names]
    shape = (len(names), len(seeds), len(points))
    # a start is the same file for all strategies of its seed
    files = {(n, s, k): by[n, s].at(k) for n in names for s in seeds for k in points}
    places = list(dict.fromkeys(files.values()))
    first = {path: key for key, path in reversed(files.items())}
    resampled = resample([by[first[path][0], first[path][1]].table(first[path][2]) for path in places])
    index = {path: k for k, path in enumerate(places)}
    order = [index[files[n, s, k]] for n in names for s in seeds for k in points]

    def gather(what: str) -> np.ndarray:
        return np.array([[[cell[what] for cell in line] for line in block] for block in cells], np.float64)

    labeled = np.array([len(cell["labeled"]) for cell in cells[0][0]])
    maps, resampled = gather("map"), resampled[:, order].reshape(-1, *shape)
    return Curves(names, labeled, gather("boxes"), maps, resampled, runs[0].config.costs)


def summarise(curves: Curves) -> dict[str, Any]:
    """The figures of every strategy, against random, the best baseline, and (those of its ablations) mgral, where these
    took part. A ratio to one that found nothing is None."""
    mean_curves = curves.resampled_means()
    areas, draws = area(curves.labeled, curves.mean), area(curves.labeled, mean_curves)
    by = {"boxes": curves.area_by(curves.boxes), "minutes": curves.area_by(curves.minutes)}
    per_seed = area(curves.labeled, curves.maps)  # (S, D)
    reference = curves.names.index(RANDOM) if RANDOM in curves.names else None
    baselines = [k for k, name in enumerate(curves.names) if not name.startswith(AGENT)]
    best = max(baselines, key=lambda k: areas[k]) if baselines else None
    out: dict[str, Any] = {
        "labeled": curves.labeled.tolist(),
        "best_baseline": curves.names[best] if best is not None else None,
        "seconds_an_image": curves.costs.image,
        "seconds_a_box": curves.costs.box,
        "strategies": {},
    }
    for k, name in enumerate(curves.names):
        about: dict[str, Any] = {
            "map": _rounded(curves.mean[k]),
            "map_std": _rounded(curves.maps[k].std(axis=0, ddof=1)) if curves.maps.shape[1] > 1 else None,
            "area": rounded(areas[k]),
            "area_interval": _pair(interval(draws[:, k])),
            "area_std": rounded(per_seed[k].std(ddof=1)) if per_seed.shape[1] > 1 else None,
        }
        whole = curves.names.index(AGENT) if AGENT in curves.names and name.startswith(AGENT) else None
        for against, other in (("random", reference), ("best_baseline", best), (AGENT, whole)):
            if other is not None and other != k:
                about[f"area_over_{against}"] = rounded(_ratio(areas[k], areas[other]))
                about[f"area_over_{against}_interval"] = _pair(interval(_ratio(draws[:, k], draws[:, other])))
                about[f"better_than_{against}"] = rounded(float(np.mean(draws[:, k] > draws[:, other])))
        if reference is not None and areas[reference] > 0:
            for spent, areas_by in by.items():
                about[f"area_by_{spent}_over_random"] = rounded(_ratio(areas_by[k], areas_by[reference]))
            about["labels_for_final_of_random"] = rounded(curves.needed(curves.mean, reference)[k])
            needed = np.array([curves.needed(one, reference)[k] for one in mean_curves])
            about["labels_for_final_of_random_interval"] = _pair(interval(needed))
        out["strategies"][name] = about
    return out


def _of_cycles(runs: Sequence[Run]) -> dict[str, Any]:
    """By strategy, for each cycle the mean over seeds of its seconds; for mgral also rho and who chose the batch."""
    out: dict[str, Any] = {}
    for name in dict.fromkeys(run.strategy for run in runs):
        of_strategy = [run for run in runs if run.strategy == name]
        cycles = range(of_strategy[0].config.cycles + 1)
        out[name] = {"seconds": [round(float(np.mean([seconds(run, k) for run in of_strategy])), 2) for k in cycles]}
        choices = [[run.chosen(k) or {} for run in of_strategy] for k in cycles[:-1]]
        if name.startswith(AGENT):
            out[name]["chosen_by"] = [[one["chosen_by"] for one in line] for line in choices]
            out[name]["rho"] = [[one["rho"] for one in line] for line in choices]
    return out


def seconds(run: Run, cycle: int) -> float:
    """What a cycle took: training, evaluation, and the choice of the next batch."""
    parts = [run.measured(cycle), run.chosen(cycle)]
    return sum(sum(part["seconds"].values()) for part in parts if part)


def _write_results(path: Path, runs: Sequence[Run]) -> None:
    """One row for every cycle that is measured."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for run in runs:
        for cycle in range(run.config.cycles + 1):
            measured, chosen = run.measured(cycle), run.chosen(cycle) or {}
            if measured is not None:
                scores = [f"{measured[name]:.5f}" for name in ("map", "map50")]
                images, boxes = len(measured["labeled"]), measured["boxes"]
                minutes = f"{run.config.costs.minutes(np.array(images), np.array(boxes)):.2f}"
                about = [images, *scores, f"{seconds(run, cycle):.2f}", boxes, minutes]
                table.writerow([run.strategy, run.seed, cycle, *about, chosen.get("chosen_by"), chosen.get("rho")])
    write_file(path, text.getvalue().encode())


def _ratio(one: Any, other: Any) -> Any:
    """one / other; infinite where the other found nothing."""
    return np.divide(one, other, out=np.full(np.shape(one), np.inf), where=np.asarray(other) > 0)


def _pair(values: tuple[float, float]) -> list[float | None]:
    return [rounded(value) for value in values]


def _rounded(values: np.ndarray) -> list[float | None]:
    return [rounded(value) for value in values]

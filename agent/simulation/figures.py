"""The curves, drawn: mAP against labeled images, a band of one standard deviation over the seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from agent.simulation.curves import Curves

EMPHASISED = {"mgral": ("#c0392b", 2.6), "random": ("#222222", 2.0)}
OTHERS = ("#1f77b4", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#17becf", "#bcbd22", "#ff7f0e", "#7f7f7f", "#5f9ea0")


def draw_curves(curves: Curves, summary: dict[str, Any], out: Path) -> None:
    """Write `curves.svg` and `curves.png` below `out`: against labeled images, the boxes in them, and minutes."""
    figure = Figure(figsize=(18, 5), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    plain = iter(OTHERS * (1 + len(curves.names) // len(OTHERS)))
    for k, name in enumerate(curves.names):
        colour, width = EMPHASISED.get(name) or (next(plain), 1.3)
        gain = summary["strategies"][name].get("area_over_random")
        label = name if gain is None else f"{name} ({gain - 1:+.1%})"
        mean = curves.mean[k]
        spent = (curves.labeled, curves.boxes[k].mean(axis=0), curves.minutes[k].mean(axis=0))
        for axes, x in zip(panels, spent, strict=True):
            axes.plot(x, mean, color=colour, linewidth=width, marker="o", markersize=3, label=label)
            if name in EMPHASISED and curves.maps.shape[1] > 1:
                spread = curves.maps[k].std(axis=0, ddof=1)
                axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.12, linewidth=0)
    minutes = f"minutes of labeling ({curves.costs.image:g} s an image, {curves.costs.box:g} s a box)"
    for axes, what in zip(panels, ("labeled images", "boxes drawn in them", minutes), strict=True):
        axes.set_xlabel(what)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("mAP on the evaluation images")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside right upper", fontsize=8, title="area beside random's", title_fontsize=8
    )
    seeds = len(summary["seeds"])
    over = "one seed" if seeds == 1 else f"mean of {seeds} seeds; bands: one standard deviation over them"
    figure.suptitle(over, fontsize=9)
    for suffix in ("svg", "png"):
        # without a date and with fixed ids, the same curves give the same file
        figure.savefig(out / f"curves.{suffix}", dpi=110, metadata={"Date": None} if suffix == "svg" else None)

"""What a simulation looks like while it runs: a table of mAP by strategy and cycle, and how long it will take."""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from agent.simulation.config import SimulationConfig

START = "start"


class View:
    """Watches a simulation (`agent.simulation.grid.GridWatch`); where the output is no terminal, a line a cycle."""

    def __init__(self, config: SimulationConfig) -> None:
        self.config = config
        self.console = Console(stderr=True)
        self.maps: dict[tuple[str, int], dict[int, float]] = {}
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self.console,
            # a training takes a minute, and the first ones told are those that were done before
            speed_estimate_period=3600,
        )
        total = len(config.strategies) * len(config.seeds) * (config.cycles + 1)
        self.all = self.progress.add_task("models", total=total)
        self.running: dict[tuple[int, str], str] = {}
        self.live = Live(console=self.console, get_renderable=self._draw, refresh_per_second=2)

    def __enter__(self) -> View:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def __call__(self, seed: int, strategy: str, stage: str, done: int, total: int, **figures: float) -> None:
        """See `GridWatch`."""
        if stage != "cycle":
            self.running[seed, strategy] = f"{stage} {done}/{total}" + "".join(
                f" {k} {v:.3f}" for k, v in figures.items()
            )
            return
        self.maps.setdefault((strategy, done), {})[seed] = figures["map"]
        self.progress.advance(self.all)
        self.running.pop((seed, strategy if done else START), None)
        if done == total:
            self.running.pop((seed, strategy), None)
        if not self.console.is_terminal:
            labeled = self.config.initial + done * self.config.batch
            self.console.print(
                f"{self._finished()} {strategy}, seed {seed}: {labeled} labeled images, mAP {figures['map']:.4f}"
            )

    def _finished(self) -> str:
        task = self.progress.tasks[0]
        left = "" if task.time_remaining is None else f", {task.time_remaining / 60:.0f} min left"
        return f"[{task.completed:.0f}/{task.total:.0f}{left}]".replace("[", r"\[")

    def _draw(self) -> Group:
        table = Table(title="mAP, mean over the seeds done", title_justify="left")
        table.add_column("strategy")
        for cycle in range(self.config.cycles + 1):
            table.add_column(f"{self.config.initial + cycle * self.config.batch} images", justify="right")
        for name in self.config.strategies:
            cells = []
            for cycle in range(self.config.cycles + 1):
                maps = self.maps.get((name, cycle), {})
                cells.append(f"{sum(maps.values()) / len(maps):.3f} ({len(maps)})" if maps else "")
            table.add_row(name, *cells)
        now = [f"{name}, seed {seed}: {what}" for (seed, name), what in sorted(self.running.items())]
        return Group(table, *now, self.progress)


def verdict(summary: dict[str, Any]) -> str:
    """The summary's sentence for each strategy."""
    if not summary.get("strategies"):
        return "no seed is complete yet"
    lines = [f"labels: {summary['labeled'][0]} to {summary['labeled'][-1]}, {len(summary['seeds'])} seeds"]
    for name, about in summary["strategies"].items():
        line = f"{name}: final mAP {about['map'][-1]:.3f}"
        if "area_over_random" in about:
            over = about["area_over_random"]
            low, high = ("no bound" if bound is None else bound for bound in about["area_over_random_interval"])
            needed = about.get("labels_for_final_of_random")
            if over is None:
                lines.append(f"{line}; random found nothing (its area is 0), so there is nothing to compare with")
                continue
            line += f", area {over:.3f} of random's [{low}, {high}], "
            line += "does not reach random's final mAP" if needed is None else f"{needed:.0%} of random's labels"
        lines.append(line)
    return "\n".join(lines)

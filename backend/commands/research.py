"""Commands for researchers: `mgral simulate` and `mgral fidelity`. Neither needs Label Studio, Redis or settings."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, get_args

import click

from agent.costs import SECONDS_A_BOX, SECONDS_AN_IMAGE, LabelingCosts
from agent.simulation.ablations import ABLATIONS
from agent.simulation.protocols import PROTOCOLS, Base
from backend.commands.plain import plain
from model.data.dataset import Dataset

DIRECTORY = "COCO, YOLO or Pascal VOC as a directory, as tools export it."


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.ClickException(f"{option} {text!r}: give whole numbers, as in 0,1,2") from None


def _opened(data: str) -> Dataset:
    """The data set at a path; what it holds, and what was mended or left out of it, is said. Raises ValueError."""
    from model.data.directories import open_directory

    dataset = open_directory(data)
    click.echo(plain(f"{data}: {dataset}"), err=True)
    for note in dataset.notes:
        click.echo(plain(f"note: {note}"), err=True)
    return dataset


@click.command()
@click.option("--data", required=True, help=f"{DIRECTORY} Images of the split 'train' are the pool.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Everything is kept here; give it again to go on."
)
@click.option(
    "--strategies",
    default="random,entropy,weakness,two_stage,mgral",
    show_default=True,
    help=f"Also: {', '.join(ABLATIONS)}.",
)
@click.option("--initial", type=int, help="Images labeled at the start.  [default: a twentieth of the pool]")
@click.option("--batch", type=int, help="Images revealed a cycle.  [default: as at the start]")
@click.option("--cycles", type=int, help="Batches revealed.  [default: 5]")
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--detector", help="Name or path of the weights that trainings start from.  [default: starter]")
@click.option("--image-size", type=int, help="Side of the network's square in pixels.  [default: 192]")
@click.option("--epochs", type=int, help="Passes over the labeled images, at least.  [default: 1]")
@click.option("--steps", type=int, default=120, show_default=True, help="Weight updates of a training, at least.")
@click.option("--train-batch", type=int, help="Images an update.  [default: 8]")
@click.option(
    "--hindsight", default=8, show_default=True, help="Batches of labeled images that mgral measures a cycle."
)
@click.option("--variant-steps", default=30, show_default=True, help="Weight updates of each of these.")
@click.option("--time-budget", default=0.0, help="Seconds a cycle for mgral's measuring.  [default: 1.5 trainings]")
@click.option(
    "--protocol", type=click.Choice(list(PROTOCOLS)), help="Sizes of the literature; other options go before."
)
@click.option(
    "--first-steps",
    type=int,
    help="Weight updates of the first training, which all strategies share.  [default: three times --steps with "
    "--base newest, else --steps]",
)
@click.option(
    "--base",
    type=click.Choice(get_args(Base)),
    help="What trainings start from: the given weights, the model before, or, as in the product, the one that serves.  "
    "[default: newest; start with a protocol]",
)
@click.option(
    "--through-label-studio", is_flag=True, help="Let annotators label in a real Label Studio; implies --base serving."
)
@click.option(
    "--seconds-an-image",
    default=SECONDS_AN_IMAGE,
    show_default=True,
    help="What labeling is taken to cost, for the curves by minutes and for mgral-minutes.",
)
@click.option("--seconds-a-box", default=SECONDS_A_BOX, show_default=True, help="The same for each box.")
@click.option("--workers", type=int, help="Trainings at a time.  [default: one a core]")
def simulate(
    data: str,
    out: Path,
    strategies: str,
    initial: int | None,
    batch: int | None,
    cycles: int | None,
    seeds: str,
    detector: str | None,
    image_size: int | None,
    epochs: int | None,
    steps: int,
    train_batch: int | None,
    hindsight: int,
    variant_steps: int,
    time_budget: float,
    protocol: str | None,
    first_steps: int | None,
    base: Base | None,
    through_label_studio: bool,
    seconds_an_image: float,
    seconds_a_box: float,
    workers: int | None,
) -> None:
    """Compare strategies on a labeled data set: how fast does mAP rise with labels?

    Labels start hidden. Each cycle trains, measures, ranks and reveals a batch. OUT gets results.csv, summary.json,
    curves.svg, curves.png and gallery.jpg. A run that was stopped goes on where it was; the same command does it.

    \b
    Example: mgral simulate --data ../shared/data/cards --strategies random,mgral --initial 24 --batch 24 --out curves
    """
    from agent.inner_loop.plan import SurrogateConfig
    from agent.inner_loop.planning import PlanConfig
    from agent.simulation.config import SimulationConfig
    from agent.simulation.grid import simulate as run
    from backend.commands.simulation_view import View, verdict
    from model.detectors.base import FitConfig

    named = PROTOCOLS[protocol] if protocol else None

    def chosen(value: int | None, name: str, default: int) -> int:
        return value if value is not None else getattr(named, name) if named else default

    begun: Base = "serving" if through_label_studio else base or ("start" if named else "newest")
    try:
        pool, evaluation = _opened(data).pool_and_evaluation()
        first = chosen(initial, "initial", max(1, len(pool) // 20))
        config = SimulationConfig(
            strategies=tuple(strategies.split(",")),
            initial=first,
            batch=chosen(batch, "batch", first),
            cycles=chosen(cycles, "cycles", 5),
            seeds=_numbers(seeds, "--seeds"),
            weights=detector or (named.detector if named else "starter"),
            fit=FitConfig(
                epochs=chosen(epochs, "epochs", 1),
                min_steps=steps,
                batch=chosen(train_batch, "train_batch", 8),
                image_size=chosen(image_size, "image_size", 192),
            ),
            first_steps=first_steps if first_steps is not None else 3 * steps if begun == "newest" else 0,
            base=begun,
            plan=PlanConfig(hindsight=hindsight, training=SurrogateConfig(steps=variant_steps)),
            seconds=time_budget,
            costs=LabelingCosts(seconds_an_image, seconds_a_box),
        )
        if named and len(pool) != named.pool:
            click.echo(
                f"note: {protocol} is defined on a pool of {named.pool} images; this one has {len(pool)}", err=True
            )
        if through_label_studio:
            from backend.commands.simulated_labeling import through_label_studio as run_through

            with View(config) as view:
                summary = run_through(pool, evaluation, config, out, view)
        else:
            with View(config) as view:
                summary = run(pool, evaluation, config, out, workers or os.cpu_count() or 1, view)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(verdict(summary), err=True)
    click.echo(json.dumps(summary))


@click.command()
@click.option("--data", required=True, help=DIRECTORY)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Where everything measured is kept.")
@click.option("--weights", default="starter", show_default=True, help="What the first training starts from.")
@click.option("--initial", default=40, show_default=True, help="Labeled images at the start.")
@click.option("--batch", default=24, show_default=True, help="Images a fresh batch.")
@click.option("--batches", default=20, show_default=True, help="Fresh batches to label and retrain on.")
@click.option("--seeds", default=2, show_default=True, help="Retrains of each; two or more tell the ceiling.")
@click.option("--hindsight", default=20, show_default=True, help="Batches of labeled images that are measured.")
@click.option("--surrogates", default=20, show_default=True, help="Batches that are measured with pseudo-labels.")
@click.option("--image-size", default=192, show_default=True)
@click.option("--steps", default=60, show_default=True, help="Weight updates of a retrain.")
def fidelity(
    data: str,
    out: Path,
    weights: str,
    initial: int,
    batch: int,
    batches: int,
    seeds: int,
    hindsight: int,
    surrogates: int,
    image_size: int,
    steps: int,
) -> None:
    """Measure whether the agent's gain model orders batches as real retraining with true labels does.

    Takes an hour or more on two cores; what is done is kept in OUT, so that the same command goes on after a stop.

    \b
    Example: mgral fidelity --data ../shared/data/cards --out fidelity/cards
    """
    from rich.console import Console
    from rich.progress import Progress

    from agent.inner_loop.planning import PlanConfig
    from agent.simulation import fidelity as measuring
    from model.detectors.base import FitConfig
    from model.detectors.open import open_detector

    try:
        pool, evaluation = _opened(data).pool_and_evaluation()
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error
    if len(pool) < initial + batch:
        raise click.ClickException(
            f"{data}: a pool of {len(pool)} images is too small for {initial} labeled ones and a batch of {batch}"
        )
    config = measuring.FidelityConfig(
        initial=initial,
        batch=batch,
        batches=batches,
        seeds=seeds,
        start=FitConfig(epochs=1, min_steps=100, image_size=image_size),
        retrain=FitConfig(epochs=1, min_steps=steps, image_size=image_size),
        plan=PlanConfig(hindsight, surrogates),
    )
    with Progress(console=Console(stderr=True)) as progress:
        bars: dict[str, Any] = {}

        def watch(stage: str, done: int, total: int, **_: float) -> None:
            if stage not in bars:
                bars[stage] = progress.add_task(stage, total=total)
            progress.update(bars[stage], completed=done)

        figures = measuring.measure(pool, evaluation, open_detector(weights), out, config, watch)
    click.echo(json.dumps(figures))

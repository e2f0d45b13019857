"""`mgral simulate --through-label-studio`: the same loop in a real Label Studio, beside the simulator's own.

A simulated annotator labels the start, presses "Start training", takes the next task as often as a batch is large, and
submits the true boxes. The simulator then runs on the same tasks, and the two must choose alike.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.simulation.ablations import ABLATIONS
from agent.simulation.config import SimulationConfig, SimulationError
from agent.simulation.grid import GridWatch, simulate
from agent.simulation.run import Run
from backend.commands.annotator import Annotator
from backend.commands.local import LocalStack
from backend.commands.watch import fault, follow
from backend.label_studio.client import Studio
from backend.label_studio.labels import LabelConfig, boxes
from backend.project.connect import connect
from backend.project.serving import detector_of, store_of
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from model.atomic import write_file
from model.data.dataset import Dataset, LabeledImage
from model.evaluate import detect, evaluate

UNLIMITED = 1e9
"""Seconds for mgral's measuring: how many batches it measures must not depend on how fast the machine is."""


def through_label_studio(
    pool: Dataset, evaluation: Dataset, config: SimulationConfig, out: Path, watch: GridWatch
) -> dict[str, Any]:
    """`compare_all` on an installation of its own, which goes with its data when all is done."""
    # a short path: a Unix socket's may have 107 characters
    with tempfile.TemporaryDirectory(prefix="mgral-") as directory, LocalStack(Path(directory)) as stack:

        def start() -> LocalStack:
            stack.start_redis()
            stack.start_label_studio()
            stack.wait_for_label_studio()
            return stack

        return compare_all(start, pool, evaluation, config, out, watch)


def compare_all(
    start: Callable[[], LocalStack],
    pool: Dataset,
    evaluation: Dataset,
    config: SimulationConfig,
    out: Path,
    watch: GridWatch,
) -> dict[str, Any]:
    """Run every strategy under every seed both ways; a pair that `out` holds is not run again.

    Returns, and writes to `out / "through_label_studio.json"`, for each pair and cycle the mAP of both, and whether the
    batches were the same tasks in the same order.

    Args:
        start: gives an installation without backend and worker; called where a pair is left to run.
    """
    if ablations := [name for name in config.strategies if name in ABLATIONS]:
        raise SimulationError(f"{ablations[0]} is no strategy of the product: it can only be simulated")
    config = replace(config, seconds=UNLIMITED, base="serving")
    config.check(pool, evaluation)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "through_label_studio.json"
    runs: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    left = [(seed, name) for seed in config.seeds for name in config.strategies if f"{name}-{seed}" not in runs]
    stack = start() if left else None
    for seed, name in left:
        assert stack is not None
        single = replace(config, strategies=(name,), seeds=(seed,))
        runs[f"{name}-{seed}"] = compare(stack, pool, evaluation, single, watch)
        write_file(path, json.dumps(runs, indent=1).encode())
    pairs = [cycle for run in runs.values() for cycle in run["cycles"] if "same_batch" in cycle]
    return {"same_batches": sum(cycle["same_batch"] for cycle in pairs), "batches": len(pairs), "runs": runs}


def compare(
    stack: LocalStack, pool: Dataset, evaluation: Dataset, config: SimulationConfig, watch: GridWatch
) -> dict[str, Any]:
    """One strategy under one seed, in the product and in the simulator."""
    ((name,), (seed,)) = config.strategies, config.seeds
    environment = environment_of(config, name, seed)
    stack.start_backend(**environment)
    stack.start_worker(**environment)
    try:
        settings = stack.settings(**environment)
        studio = Studio.from_settings(settings)
        annotator = Annotator(studio, pool)
        project = annotator.create_project(f"{name} {seed}")
        annotator.upload(project, pool.images)
        connect(studio, settings, project, stack.backend_url, Jobs(settings))
        tasks = as_tasks(annotator, LabelConfig.parse(studio.project(project)["label_config"]))
        folder = Path(tempfile.mkdtemp(dir=stack.directory))
        run = Run(folder, tasks, evaluation, config, name, seed)
        product = _label(annotator, project, run, settings, watch)
    finally:
        for process in ("work", "serve"):
            stack.stop(process)
    # two processes, so that each has as many threads as the worker: another number adds up in another order
    simulate(tasks, evaluation, config, folder, 2, watch)
    cycles = []
    for cycle, (batch, score) in enumerate(product):
        measured, chosen = run.measured(cycle), run.chosen(cycle)
        assert measured is not None
        about = {"labeled": len(measured["labeled"]), "map_product": score, "map_simulator": measured["map"]}
        if chosen is not None:
            about |= {"same_batch": batch == chosen["ids"], "product": batch, "simulator": chosen["ids"]}
        cycles.append(about)
    return {"strategy": name, "seed": seed, "cycles": cycles}


def environment_of(config: SimulationConfig, strategy: str, seed: int) -> dict[str, str]:
    """The product's settings for one run of a simulation."""
    fit, plan = config.fit, config.plan
    return {
        "WEIGHTS": config.weights,
        "STRATEGY": strategy,
        "SEED": str(seed),
        "BUDGET": str(config.batch),
        "IMAGE_SIZE": str(fit.image_size),
        "BATCH": str(fit.batch),
        "TRAIN_EPOCHS": str(fit.epochs),
        "TRAIN_MIN_STEPS": str(fit.min_steps),
        "MGRAL_HINDSIGHT": str(plan.hindsight),
        "MGRAL_SURROGATES": str(plan.surrogates),
        "MGRAL_STEPS": str(plan.training.steps),
        "MGRAL_TIME_BUDGET": str(config.seconds),
        "CROSS_FITTING": "false",  # what it says changes no order
    }


def as_tasks(annotator: Annotator, config: LabelConfig) -> Dataset:
    """The uploaded images under their tasks' ids, with the boxes that the product will read of them."""
    images = []
    for task, image in sorted(annotator.by_task.items()):
        xyxy, classes = boxes(annotator.result(task), config, image.size)
        images.append(LabeledImage(task, image.path, image.size, xyxy, classes))
    return Dataset(tuple(images), annotator.truth.names, annotator.truth.notes)


def _label(
    annotator: Annotator, project: int, run: Run, settings: Settings, watch: GridWatch
) -> list[tuple[list[int], float]]:
    """What the annotator was given after each training, and the mAP of the model that served."""
    jobs, store = Jobs(settings), store_of(settings, project)
    for task in run.initial():
        annotator.label(task)
    out = []
    for cycle in range(run.config.cycles + 1):
        job, _ = jobs.enqueue("train", project)
        now: dict[str, Any] = {}
        for now in follow(job):
            watch(run.seed, run.strategy, now["stage"], now["done"], now["total"])
        if error := fault(job, now):
            raise SimulationError(f"training in Label Studio's project {project} failed: {error}")
        serving = store.serving()
        assert serving is not None
        score = evaluate(run.evaluation, detect(detector_of(serving), run.evaluation, serving.label_map)).map
        last = cycle == run.config.cycles
        out.append(([] if last else [annotator.label_next(project) for _ in range(run.config.batch)], score))
    return out

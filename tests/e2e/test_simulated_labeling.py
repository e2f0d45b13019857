"""The simulator and the product choose alike: the same tasks, in the same order, a batch and the models around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.inner_loop.planning import PlanConfig
from agent.simulation.config import SimulationConfig
from backend.commands.local import LocalStack
from backend.commands.simulated_labeling import compare_all
from model.data.dataset import Dataset
from model.detectors.base import FitConfig
from model.synthetic.scenes import write_scenes
from tests.e2e.conftest import TRAINING


@pytest.fixture
def bare(stack: LocalStack) -> Iterator[LocalStack]:
    """The installation without its backend and worker."""
    for name in ("work", "serve"):
        stack.stop(name)
    yield stack
    stack.start_backend(**TRAINING)
    stack.start_worker(**TRAINING)


@pytest.mark.timeout(600)
def test_the_product_serves_the_order_that_the_simulator_foretells(bare: LocalStack, tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "scenes", 60, seed=3)
    split = tuple(replace(image, split="train" if image.id <= 48 else "val") for image in scenes.images)
    pool, evaluation = Dataset(split, scenes.names).pool_and_evaluation()
    config = SimulationConfig(
        ("mgral",),
        initial=24,
        batch=4,
        cycles=1,
        seeds=(1,),
        fit=FitConfig(epochs=1, min_steps=30, batch=8, image_size=64),
        plan=PlanConfig(hindsight=0),  # test_cycle compares what is measured
    )
    seen = []

    def both_ways() -> dict[str, Any]:
        return compare_all(lambda: bare, pool, evaluation, config, tmp_path / "out", lambda *now, **_: seen.append(now))

    summary = both_ways()
    (run,) = summary["runs"].values()
    for cycle in run["cycles"][:-1]:
        assert cycle["product"] == cycle["simulator"]
    assert summary["same_batches"] == summary["batches"] == 1
    for cycle in run["cycles"]:
        assert cycle["map_product"] == cycle["map_simulator"]
    assert run["cycles"][-1]["map_product"] > 0
    assert json.loads((tmp_path / "out" / "through_label_studio.json").read_text()) == summary["runs"]
    # a second call finds everything done
    seen.clear()
    assert both_ways() == summary
    assert not seen

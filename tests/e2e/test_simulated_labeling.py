"""The simulator and the product choose alike: the same tasks, in the same order, a batch and the models around it.

And whoever labels in the place of people gives every task the boxes of its own picture, whatever the files are called.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from agent.inner_loop.planning import PlanConfig
from agent.simulation.config import SimulationConfig
from backend.commands.annotator import Annotator
from backend.commands.local import LocalStack
from backend.commands.simulated_labeling import compare_all
from backend.label_studio.client import Studio
from model.data.dataset import Dataset, LabeledImage
from model.data.directories import open_directory
from model.data.images import load_image
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


FILES = ["a/x.jpg", "b/x.jpg", "b/x y (1) é.png", f"b/{'long' * 50}.jpg", "b/a-b.tif", "c/x.jfif", "c/x.JPEG"]


def test_every_task_gets_the_boxes_of_its_own_picture(stack: LocalStack, studio: Studio, tmp_path: Path) -> None:
    """Two folders with a file of one name, and names that Label Studio rewrites, cuts or does not take; and what Label
    Studio exports of it is read back as it was."""
    images = []
    for k, name in enumerate(FILES):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (60 + 10 * k, 50)
        kind = {".tif": "TIFF", ".png": "PNG"}.get(path.suffix, "JPEG")
        Image.new("RGB", size, (10, 20, 30)).save(path, kind)
        boxes = np.array([[5 + k, 5, 25 + k, 30], [30, 10, 55, 40]][: k % 3], np.float32).reshape(-1, 4)
        images.append(LabeledImage(k + 7, path, size, boxes, np.arange(len(boxes)) % 2, split=None))
    annotator = Annotator(studio, Dataset(tuple(images), ("bolt", "nut")))
    project = annotator.create_project("names")
    annotator.upload(project, images)
    assert sorted(image.id for image in annotator.by_task.values()) == [image.id for image in images]
    headers = {"Authorization": f"Token {stack.token}"}
    for task in studio.tasks(project):
        stored = requests.get(stack.label_studio_url + task.data["image"], headers=headers, timeout=30).content
        height, width = load_image(stored).shape[:2]
        assert (width, height) == annotator.by_task[task.id].size
        annotator.label(task.id)

    for kind in ("COCO_WITH_IMAGES", "YOLO_WITH_IMAGES"):
        place = f"{stack.label_studio_url}/api/projects/{project}/export?exportType={kind}"
        with zipfile.ZipFile(io.BytesIO(requests.get(place, headers=headers, timeout=60).content)) as archive:
            archive.extractall(tmp_path / kind)
        dataset = open_directory(tmp_path / kind)
        assert dataset.notes == ()
        found = {image.size: image for image in dataset.images}
        for image in images:
            again = found.pop(image.size)
            order = [dataset.names.index(name) for name in ("bolt", "nut")[: len(image.class_ids)]]
            assert again.class_ids.tolist() == order
            np.testing.assert_allclose(again.xyxy, image.xyxy, atol=0.01)
        assert not found

"""Trained detectors, one of each family that is cheap, for the conformance suite; and an empty store of versions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from model.data.dataset import Dataset
from model.detectors.base import FitConfig
from model.detectors.network import NetworkDetector
from model.detectors.yolo import YoloDetector
from model.synthetic.scenes import write_scenes
from model.versions import VersionStore
from tests.model.made import FAMILIES, SIDE, TINY, TINY_RTDETR, Trained, new, square_in, squares
from tests.model.written import TRAIN


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Pictures this small gain nothing from more, and on a busy machine threads wait for each other."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture(scope="package", params=FAMILIES)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    directory = tmp_path_factory.mktemp(request.param)
    architecture = request.param
    if architecture in TINY:
        file = directory / f"{architecture}-tiny.yaml"
        file.write_text(TINY[architecture])
        architecture = str(file)
    data = squares(directory / "images", 4)
    base = new(architecture, ("blue", "car", "dog"))
    reports: list[tuple[int, int, float]] = []
    detector = base.fit(
        data,
        FitConfig(epochs=90, min_steps=1, batch=4, image_size=SIDE, learning_rate=5e-3),
        report=lambda done, total, **figures: reports.append((done, total, figures["loss"])),
    )
    assert isinstance(detector, NetworkDetector)
    return Trained(request.param, architecture, base, detector, reports, data)


@pytest.fixture(scope="package")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray | Path]:
    """Squares to be found in pictures of several shapes, arrays and files; then two pictures without any."""
    directory = tmp_path_factory.mktemp("pictures")
    wide, tall, plain, colour, grey = (
        square_in(np.random.default_rng(k), *shape, side)
        for k, (shape, side) in enumerate(
            [((48, 96), 44), ((96, 48), 44), ((64, 64), 32), ((50, 40), 28), ((40, 50), 28)]
        )
    )
    Image.fromarray(colour).save(directory / "colour.jpg")
    Image.fromarray(grey[..., 0]).save(directory / "grey.png")
    empty = np.full((70, 50, 3), 128, np.uint8)
    return [wide, tall, plain, directory / "colour.jpg", directory / "grey.png", empty, np.zeros((7, 9, 3), np.uint8)]


@pytest.fixture(scope="session")
def detector(tmp_path_factory: pytest.TempPathFactory) -> YoloDetector:
    """Untrained, and small on the disk."""
    architecture = tmp_path_factory.mktemp("architecture") / "rtdetr-tiny.yaml"
    architecture.write_text(TINY_RTDETR)
    return YoloDetector.new(str(architecture), ("red", "blue"), SIDE)


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    return VersionStore(tmp_path / "projects" / "7")


@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Six scenes in the product's own format, four of them "train"; the last one is without objects."""
    root = tmp_path_factory.mktemp("scenes")
    write_scenes(root, 6, seed=3)
    coco = json.loads((root / "annotations.json").read_text())
    for image in coco["images"]:
        image["split"] = "train" if image["id"] in TRAIN else "val"
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] != 6]
    (root / "annotations.json").write_text(json.dumps(coco))
    return Dataset.from_coco(coco, root / "images")

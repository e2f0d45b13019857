"""What the model tests share: pictures that a detector learns in seconds, cheap architectures, versions."""

from __future__ import annotations

import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from model.data.dataset import Dataset, LabeledImage
from model.detectors.base import Detector
from model.detectors.network import NetworkDetector
from model.detectors.torchvision import TorchvisionDetector
from model.detectors.yolo import YoloDetector
from model.progress import Cancelled
from model.versions import Version, VersionStore
from tests.model import tiny  # noqa: F401  the tiny architectures exist from here on

SIDE = 64
ULTRALYTICS = ("yolo11n", "yolov8n", "yolo26n", "rtdetr")
TORCHVISION = ("tiny-retinanet", "tiny-ssd", "tiny-fasterrcnn")
FAMILIES = ULTRALYTICS + TORCHVISION

# RT-DETR's own layers and loss, a hundred times smaller than any that is published.
TINY_RTDETR = """
nc: 80
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, Conv, [64, 3, 2]] # 2-P3/8
  - [-1, 1, Conv, [64, 3, 2]] # 3-P4/16
  - [-1, 1, Conv, [64, 3, 2]] # 4-P5/32
head:
  - [-1, 1, AIFI, [64, 4]]
  - [[2, 3, 5], 1, RTDETRDecoder, [nc, 64, 30, 4, 4, 2, 64, 0.0, null, -1, 10]]
"""

# YOLOs of the published ones' own parts, with a tenth of their layers.
_TINY_YOLO = """
nc: 80
{header}
backbone:
  - [-1, 1, Conv, [16, 3, 2]]
  - [-1, 1, Conv, [32, 3, 2]]
  - [-1, 1, {block}]
  - [-1, 1, Conv, [64, 3, 2]] # 3-P3/8
  - [-1, 1, Conv, [64, 3, 2]] # 4-P4/16
  - [-1, 1, Conv, [64, 3, 2]] # 5-P5/32
head:
  - [[3, 4, 5], 1, Detect, [nc]]
"""
TINY_YOLO = _TINY_YOLO.format(header="", block="C3k2, [64, False, 0.25]")
TINY = {
    "rtdetr": TINY_RTDETR,
    "yolov8n": _TINY_YOLO.format(header="", block="C2f, [64, True]"),
    "yolo11n": TINY_YOLO,
    "yolo26n": _TINY_YOLO.format(header="end2end: True\nreg_max: 1", block="C3k2, [64, False, 0.25]"),
}


def square_in(rng: np.random.Generator, height: int, width: int, side: int) -> np.ndarray:
    """A red square at the left of grey noise, (height, width, 3) uint8."""
    pixels = rng.integers(90, 140, (height, width, 3), dtype=np.uint8)
    top = (height - side) // 2
    pixels[top : top + side, 2 : 2 + side] = (220, 30, 30)
    return pixels


def squares(directory: Path, count: int) -> Dataset:
    """Red and blue squares in turn on grey noise, SIDE x SIDE PNG; ids 1, 2, ..."""
    directory.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    images = []
    for k in range(count):
        pixels = rng.integers(90, 140, (SIDE, SIDE, 3), dtype=np.uint8)
        side = int(rng.integers(28, 40))
        x, y = rng.integers(2, SIDE - 2 - side, 2)
        pixels[y : y + side, x : x + side] = [(220, 30, 30), (30, 30, 220)][k % 2]
        path = directory / f"{k}.png"
        Image.fromarray(pixels).save(path)
        box = np.array([[x, y, x + side, y + side]], np.float32)
        images.append(LabeledImage(k + 1, path, (SIDE, SIDE), box, np.array([k % 2])))
    return Dataset(tuple(images), ("red", "blue"))


@dataclass(frozen=True)
class Trained:
    """A detector of one family, the one that it was made from, and what training reported."""

    family: str
    architecture: str
    base: NetworkDetector
    detector: NetworkDetector
    reports: list[tuple[int, int, float]]
    data: Dataset


def new(architecture: str, names: Iterable[str], seed: int = 0) -> NetworkDetector:
    """An untrained detector of either family, for pictures of SIDE x SIDE."""
    kind: type[YoloDetector | TorchvisionDetector] = (
        TorchvisionDetector if architecture in TORCHVISION else YoloDetector
    )
    return kind.new(architecture, names, SIDE, seed)


def cancel(done: int, total: int, **figures: float) -> None:  # noqa: ARG001 - the signature of a Report
    """A user who has had enough."""
    raise Cancelled


def state(detector: Detector) -> dict[str, torch.Tensor]:
    """A copy of every weight and buffer."""
    assert isinstance(detector, NetworkDetector)
    return {key: value.clone() for key, value in detector.module.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    """Whether two such copies are equal, bit for bit."""
    return one.keys() == two.keys() and all(torch.equal(one[key], two[key]) for key in one)


def add(store: VersionStore, detector: Detector, **changes: Any) -> Version:
    """`store.add` with something for every argument."""
    arguments: dict[str, Any] = {"metrics": None, "label_map": {}, "fingerprint": "f0", "parent": None, "images": 1}
    return store.add(detector, **(arguments | changes))


def contents(root: Path) -> dict[str, bytes]:
    """Every file below `root`."""
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes: the system refuses the write, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

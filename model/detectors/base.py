"""Detector: what the product asks of any object detector, and how one is opened by name."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model.data.dataset import Dataset
from model.data.detections import Detections
from model.progress import Report, silent

if TYPE_CHECKING:
    from model.detectors.network import NetworkDetector

log = logging.getLogger(__name__)

STARTER = Path(__file__).parent / "weights" / "starter.pt"

# What a caller may hand in: a decoded picture (height, width, 3) uint8 RGB, or its file.
Picture = np.ndarray | str | Path


class WeightsError(ValueError):
    """Weights that cannot be opened; the message names them and the remedy."""


@dataclass(frozen=True)
class FitConfig:
    """How long and how to train.

    A run takes `epochs` passes over the data, or more where that would be fewer than `min_steps` updates: forty images
    need many passes, forty thousand need few.
    """

    epochs: int = 10
    """passes over the data, at least"""
    min_steps: int = 150
    """weight updates, at least"""
    batch: int = 16
    """images an update"""
    image_size: int = 320
    """side in pixels of the square that images are fitted into; a multiple of 32"""
    learning_rate: float = 2e-3
    """peak of the one-cycle schedule (AdamW) for YOLO; other families take it times their pace"""
    seed: int = 0
    """of the order of images, the augmentation and new weights"""

    def __post_init__(self) -> None:
        if self.image_size % 32 or self.image_size < 64:
            raise ValueError(f"image_size {self.image_size}: must be a multiple of 32, at least 64")
        for name in ("epochs", "min_steps", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")

    def passes(self, images: int) -> int:
        """Epochs that a run over `images` images takes."""
        per_epoch = -(-images // self.batch)
        return max(self.epochs, -(-self.min_steps // per_epoch))


class Detector(ABC):
    """An object detector with its class names.

    `scan` is the one pass over images that everything else is made of. A detector never changes once it is made: `fit`
    returns a new one, so that the serving model is untouched by training.
    """

    names: tuple[str, ...]
    image_size: int

    @abstractmethod
    def scan(
        self, pictures: Iterable[Picture], *, batch: int = 16, threshold: float = 0.001
    ) -> Iterator[tuple[Detections, np.ndarray]]:
        """Yield (detections, encoding) for each picture, in order, reading `batch` at a time.

        The encoding is a (D,) float32 vector: the average of each level of the neck, concatenated. Detections below
        `threshold` are dropped. Raises ImageError for a picture that cannot be read.
        """

    @abstractmethod
    def fit(
        self,
        dataset: Dataset,
        config: FitConfig | None = None,
        *,
        from_scratch: bool = False,
        report: Report = silent,
    ) -> Detector:
        """Train a copy on `dataset` (its names become the copy's) and return it.

        `report` is called after every epoch with `loss`. Raises ValueError when there is no box to learn from.
        """

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the weights to `path` so that `open_detector(path)` gives this detector again."""

    def predict(
        self, pictures: Sequence[Picture], *, batch: int = 16, threshold: float = 0.001, report: Report = silent
    ) -> list[Detections]:
        """Detections of each picture, in order."""
        found = []
        for detections, _ in self.scan(pictures, batch=batch, threshold=threshold):
            found.append(detections)
            if len(found) % batch == 0 or len(found) == len(pictures):
                report(len(found), len(pictures))
        return found

    def encode(self, pictures: Sequence[Picture], *, batch: int = 16) -> np.ndarray:
        """(n, D) float32 encodings of the pictures, in order."""
        if not len(pictures):  # one grey picture tells D
            return self.encode([np.full((32, 32, 3), 114, np.uint8)])[:0]
        return np.stack([encoding for _, encoding in self.scan(pictures, batch=batch)])


def open_detector(weights: str | Path, *, device: str | None = None) -> NetworkDetector:
    """A detector from a file, the name of a published checkpoint, "starter", or "torchvision:" and an architecture.

    A published name (`yolo11n.pt`) is fetched by ultralytics where there is a network; where there is none, the starter
    weights serve instead and the log says so. "torchvision:retinanet" is a network whose backbone knows ImageNet and
    whose head is new: see `TorchvisionDetector.pretrained`.

    Raises:
        WeightsError: the file does not exist, or holds no detector; there is no such architecture.
    """
    # torch takes seconds to import: only when a model is needed
    from model.detectors.torchvision import TorchvisionDetector, read

    path, name = Path(weights), str(weights)
    if name.startswith("torchvision:"):
        return TorchvisionDetector.pretrained(name.removeprefix("torchvision:"), device=device)
    if name == "starter":
        path = STARTER
    elif path.exists() and read(path) is not None:
        return TorchvisionDetector.load(path, device=device)
    from model.detectors.yolo import YoloDetector, download, is_published  # not needed by the torchvision family

    if not path.exists() and is_published(name):
        fetched = download(name)
        if fetched is None:
            log.warning(
                "%s could not be downloaded: using the starter weights instead. To use it, put the file somewhere and "
                "give its path.",
                weights,
            )
        path = fetched or STARTER
    if not path.exists():
        raise WeightsError(
            f"weights {name!r}: no such file, and not the name of a published checkpoint; give the path of a "
            ".pt file, a name such as 'yolo11n.pt', 'torchvision:retinanet', or 'starter'"
        )
    return YoloDetector.load(path, device=device)

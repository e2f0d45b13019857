"""Detector: what the product asks of any object detector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data.dataset import Dataset
from model.data.detections import Detections
from model.data.images import Letterboxed
from model.progress import Report, silent

# What a caller may hand in: a decoded picture (height, width, 3) uint8 RGB, its file, or what is left of it in the
# square that the detector looks at.
Picture = np.ndarray | str | Path | Letterboxed


class WeightsError(ValueError):
    """Weights that cannot be opened; the message names them and the remedy."""


class TrainingError(ArithmeticError):
    """A training that ended in something that is no number; the message says at which update, and the remedy."""


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
    fit_seconds: float = 0.0
    """what its `fit` took, over all parts of it; 0 for a detector that was opened"""

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
        checkpoint: Path | None = None,
    ) -> Detector:
        """Train a copy on `dataset` (its names become the copy's) and return it.

        Args:
            report: called after every epoch, and every other second within a long one, with the epochs that are done;
                `loss` is the mean over the images of the epoch, `skipped` counts the updates that had to be skipped.
            checkpoint: a file that keeps, every minute and when `report` raises `Interrupted`, what was reached. Where
                it is there already, and of the same data, config and start, the training goes on from it, and on a CPU
                ends with the weights that it would have had without the interruption. It is gone when the training is
                over.

        Raises:
            ValueError: there is no box to learn from.
            TrainingError: the loss or the weights stopped being numbers.
        """

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the weights to `path` so that `open_detector(path)` gives this detector again."""

    def predict(
        self, pictures: Sequence[Picture], *, batch: int = 16, threshold: float = 0.001, report: Report = silent
    ) -> list[Detections]:
        """Detections of each picture, in order."""
        predictions = []
        for detections, _ in self.scan(pictures, batch=batch, threshold=threshold):
            predictions.append(detections)
            if len(predictions) % batch == 0 or len(predictions) == len(pictures):
                report(len(predictions), len(pictures))
        return predictions

    def encode(self, pictures: Sequence[Picture], *, batch: int = 16) -> np.ndarray:
        """(n, D) float32 encodings of the pictures, in order."""
        if not len(pictures):  # one grey picture tells D
            return self.encode([np.full((32, 32, 3), 114, np.uint8)])[:0]
        return np.stack([encoding for _, encoding in self.scan(pictures, batch=batch)])

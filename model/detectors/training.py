"""The one training loop: every family of detectors, a retrain and an experiment all learn through it.

ultralytics' own trainer is built for hundreds of epochs on thousands of images (100 steps of warm-up, a checkpoint each
epoch). Forty images on two cores need a short, full schedule instead: AdamW, one cycle, gradient clipping.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from model.data.dataset import Dataset, LabeledImage
from model.data.images import letterbox, load_image
from model.detectors.base import FitConfig, TrainingError
from model.detectors.checkpoint import Checkpoint, fingerprint_of
from model.detectors.run import Run
from model.processes import give_back
from model.progress import Cancelled, Report

log = logging.getLogger(__name__)

CACHE_BYTES = 2_000_000_000  # of letterboxed images kept in memory, at most
REPORT_SECONDS = 2.0  # within a long epoch

# (3, S, S) uint8 picture, (n, 4) boxes xyxy in its pixels, (n,) class ids
Sample = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

# what a batch costs, () summed over its samples
Loss = Callable[[Sequence[Sample]], torch.Tensor]

augment = v2.Compose(
    [
        v2.RandomHorizontalFlip(0.5),
        v2.RandomAffine(degrees=5, translate=(0.1, 0.1), scale=(0.7, 1.3), fill=114),
        v2.ColorJitter(brightness=0.3, contrast=0.2, saturation=0.4, hue=0.015),
        v2.ClampBoundingBoxes(),
        v2.SanitizeBoundingBoxes(min_size=2, labels_getter=lambda sample: sample[2]),
    ]
)


def train(
    module: Any, loss_of: Loss, dataset: Dataset, config: FitConfig, report: Report, file: Path | None = None
) -> float:
    """Train a torch module in place, down the loss that `loss_of` gives for a batch; the seconds that it took.

    The same seed gives the same weights on the same machine, also where the training goes on from a checkpoint in
    `file` (see `Detector.fit`). Pictures that hold nothing but crowds are not looked at: they are no background.

    Raises:
        ValueError: the data set holds no box, or none but crowds.
        TrainingError: the loss or the weights stopped being numbers.
    """
    images, dataset = len(dataset), _without_crowds(dataset)
    if not dataset.boxes:
        raise ValueError(f"nothing to learn: {images} images without any box; label some objects first")
    checkpoint = Checkpoint(file, fingerprint_of(module, dataset, config)) if file else None
    run = Run(module, len(dataset), config)
    samples = Samples(dataset, config.image_size, cached=fit_in_memory(len(dataset), config.image_size))
    module.train()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            if checkpoint and (state := checkpoint.read()):
                run.load(state)
                log.info("the training goes on from update %d of %d", run.step, run.steps)
            _go_on(run, loss_of, samples, report, checkpoint)
    except (Cancelled, TrainingError):
        if checkpoint:
            checkpoint.remove()
        raise
    give_back()
    if run.skipped:
        log.warning("%d of %d updates were skipped, because their loss was no number", run.skipped, run.steps)
    if checkpoint:
        checkpoint.remove()
    return run.seconds


def _without_crowds(dataset: Dataset) -> Dataset:
    """The pictures in which each object was drawn, or none is."""
    images = tuple(image for image in dataset.images if not len(image.crowd) or not image.crowd.all())
    return Dataset(images, dataset.names, dataset.notes)


def _go_on(run: Run, loss_of: Loss, samples: Samples, report: Report, checkpoint: Checkpoint | None) -> None:
    """Every update that is still to come."""
    told = time.monotonic()
    while run.step < run.steps:
        batch = run.next_batch()
        if not run.update(loss_of([strong(samples[index], samples.size) for index in batch]), len(batch)):
            run.check_skipped([samples.images[index].id for index in batch])
        if not len(run.left) or time.monotonic() - told >= REPORT_SECONDS:
            told = time.monotonic()
            run.tell(report, checkpoint)
        if checkpoint and checkpoint.due:
            checkpoint.write(run.state())
    run.check_weights()


def strong(sample: Sample, size: int) -> Sample:
    """A view for the student: flipped, moved, scaled and recoloured at random, its boxes with it."""
    picture, xyxy, labels = sample
    boxes = tv_tensors.BoundingBoxes(xyxy, format="XYXY", canvas_size=(size, size))
    picture, boxes, labels = augment(tv_tensors.Image(picture), boxes, labels)
    return torch.as_tensor(picture), boxes.as_subclass(torch.Tensor), labels


def fit_in_memory(images: int, size: int, most: int = CACHE_BYTES) -> bool:
    """Whether so many letterboxed images may be kept."""
    return images * 3 * size**2 <= most


class Samples:
    """Letterboxed images with their boxes in the square's pixels."""

    def __init__(self, dataset: Dataset, size: int, cached: bool) -> None:
        self.images, self.size = dataset.images, size
        self.boxes: list[tuple[torch.Tensor, torch.Tensor] | None] = [None] * len(self.images)
        # one block: one for each, made as it is read, would lie between what the updates need and free again
        self.squares = torch.empty((len(self.images), 3, size, size), dtype=torch.uint8) if cached else None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        if self.squares is None:
            return self._read(self.images[index])
        if (boxes := self.boxes[index]) is None:
            self.squares[index], *rest = self._read(self.images[index])
            boxes = self.boxes[index] = (rest[0], rest[1])
        return self.squares[index], *boxes

    def _read(self, image: LabeledImage) -> Sample:
        square, scale, (left, top) = letterbox(load_image(image.path), self.size)
        objects = ~image.crowd
        boxes = torch.from_numpy(image.xyxy[objects]) * scale + torch.tensor([left, top, left, top])
        return torch.from_numpy(square).permute(2, 0, 1).contiguous(), boxes, torch.from_numpy(image.class_ids[objects])

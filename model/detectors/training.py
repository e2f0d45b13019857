"""The one training loop: every family of detectors, a retrain and an experiment all learn through it.

ultralytics' own trainer is built for hundreds of epochs on thousands of images (100 steps of warm-up, a checkpoint each
epoch). Forty images on two cores need a short, full schedule instead: AdamW, one cycle, gradient clipping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from model.data.dataset import Dataset, LabeledImage
from model.data.images import letterbox, load_image
from model.detectors.base import FitConfig
from model.progress import Report

GRADIENT_NORM = 10.0
CACHE_BYTES = 2_000_000_000  # images kept decoded in memory, at most

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


def train(module: Any, loss_of: Loss, dataset: Dataset, config: FitConfig, report: Report) -> None:
    """Train a torch module in place, down the loss that `loss_of` gives for a batch.

    The same seed gives the same weights on the same machine.

    Raises:
        ValueError: the data set holds no box.
        FloatingPointError: the weights stopped being numbers.
    """
    if not dataset.boxes:
        raise ValueError(f"nothing to learn: {len(dataset)} images without any box; label some objects first")
    device = next(module.parameters()).device
    epochs = config.passes(len(dataset))
    steps = epochs * -(-len(dataset) // config.batch)
    optimizer = optimizer_of(module, config.learning_rate)
    warm_up = 0.1 if steps > 10 else 0.05  # a warm-up of exactly one step makes torch divide by zero
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=steps, pct_start=warm_up
    )
    fits_in_memory = len(dataset) * 3 * config.image_size**2 <= CACHE_BYTES
    samples = Samples(dataset, config.image_size, cached=fits_in_memory)
    module.train()
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        for epoch in range(1, epochs + 1):
            total = torch.zeros((), device=device)
            for batch in _batches(samples, config.batch):
                optimizer.zero_grad(set_to_none=True)
                loss = loss_of(batch)
                loss.backward()
                norm = torch.nn.utils.clip_grad_norm_(module.parameters(), GRADIENT_NORM)
                if torch.isfinite(norm):  # one broken batch must not cost the run
                    optimizer.step()
                schedule.step()
                total += loss.detach()
            report(epoch, epochs, loss=total.item() / len(dataset))
    if not all(torch.isfinite(p).all() for p in module.parameters()):
        raise FloatingPointError(f"training diverged (learning_rate {config.learning_rate}, seed {config.seed})")


def optimizer_of(module: Any, learning_rate: float) -> torch.optim.Optimizer:
    """AdamW over what may learn; only matrices and kernels decay, not biases and scales."""
    matrices = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}],
        lr=learning_rate,
        fused=True,
    )


def strong(sample: Sample, size: int) -> Sample:
    """A view for the student: flipped, moved, scaled and recoloured at random, its boxes with it."""
    picture, xyxy, labels = sample
    boxes = tv_tensors.BoundingBoxes(xyxy, format="XYXY", canvas_size=(size, size))
    picture, boxes, labels = augment(tv_tensors.Image(picture), boxes, labels)
    return torch.as_tensor(picture), boxes.as_subclass(torch.Tensor), labels


class Samples:
    """Letterboxed images with their boxes in the square's pixels."""

    def __init__(self, dataset: Dataset, size: int, cached: bool) -> None:
        self.images, self.size = dataset.images, size
        self.cache: dict[int, Sample] | None = {} if cached else None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        if self.cache is None:
            return self._read(self.images[index])
        if index not in self.cache:
            self.cache[index] = self._read(self.images[index])
        return self.cache[index]

    def _read(self, image: LabeledImage) -> Sample:
        square, scale, (left, top) = letterbox(load_image(image.path), self.size)
        objects = ~image.crowd
        boxes = torch.from_numpy(image.xyxy[objects]) * scale + torch.tensor([left, top, left, top])
        return torch.from_numpy(square).permute(2, 0, 1).contiguous(), boxes, torch.from_numpy(image.class_ids[objects])


def _batches(samples: Samples, batch: int) -> Iterator[list[Sample]]:
    """One shuffled, augmented pass."""
    for chunk in torch.randperm(len(samples)).split(batch):
        yield [strong(samples[index], samples.size) for index in chunk.tolist()]

"""A detector of a frozen body and a linear head: features are computed once an image, a training takes seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.curves import SHARED
from model.data.dataset import Dataset, LabeledImage
from model.data.detections import Detections
from model.data.images import letterbox, load_image
from model.detectors.network import in_picture
from model.detectors.open import open_detector
from model.detectors.yolo import YoloDetector

BODY = SHARED / "weights" / "coco_v5n.pt"
SIDE = 128  # pixels
STEPS, BATCH, RATE = 200, 16, 0.05
THRESHOLD = 0.01  # of boxes that are looked at


@dataclass(frozen=True)
class Features:
    """What enters the head, of every image plain and mirrored.

    Attributes:
        rows: image id -> row.
        levels: (n, 2, C, H, W) float16 a level.
        scales, offsets: how each picture lies in its square, see `letterbox`.
    """

    rows: dict[int, int]
    levels: list[torch.Tensor]
    scales: np.ndarray
    offsets: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, data: Dataset, file: Path) -> Features:
        """Computed, or read from the file."""
        if not file.exists():
            _compute(data, file)
        kept = np.load(file)
        levels = [torch.from_numpy(kept[f"level{k}"]) for k in range(3)]
        rows = {int(image): row for row, image in enumerate(kept["ids"])}
        return cls(rows, levels, kept["scales"], kept["offsets"], data.names)

    def encodings(self, ids: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, D) float32, the mean of each level, as `NetworkDetector.scan` has it."""
        rows = [self.rows[int(image)] for image in ids]
        return torch.cat([level[rows, 0].float().mean(dim=(2, 3)) for level in self.levels], dim=1).numpy()

    def sample(self, image: LabeledImage, mirrored: bool) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """A picture that is none, its boxes in the square's pixels, and their classes."""
        row = self.rows[image.id]
        solid = ~image.crowd
        xyxy = torch.from_numpy(image.xyxy[solid] * self.scales[row] + np.tile(self.offsets[row], 2)).float()
        if mirrored:
            xyxy[:, [0, 2]] = SIDE - xyxy[:, [2, 0]]
        return torch.zeros(3, 1, 1), xyxy, torch.from_numpy(image.class_ids[solid])


class Head:
    """One convolution of 1x1 a level, for boxes and for classes, in the place of the body's own head."""

    def __init__(self, detector: YoloDetector, features: Features) -> None:
        self.detector, self.features = detector, features

    @classmethod
    def fit(cls, data: Dataset, features: Features, seed: int) -> Head:
        """Learned from scratch."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            student = _linear(features.names).student(frozen=True)
            head = student.module.model[-1]
            rng = np.random.default_rng(seed)
            optimizer = torch.optim.AdamW([p for p in head.parameters() if p.requires_grad], lr=RATE, weight_decay=0.01)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS, pct_start=0.1)
            rows = np.array([features.rows[image.id] for image in data.images])
            left: np.ndarray = np.zeros(0, np.int64)
            for _ in range(STEPS):
                while len(left) < BATCH:
                    left = np.concatenate([left, rng.permutation(len(data))])
                batch, left = left[:BATCH], left[BATCH:]
                mirrored = rng.random(BATCH) < 0.5
                samples = [features.sample(data.images[k], m) for k, m in zip(batch, mirrored.tolist(), strict=True)]
                levels = [level[rows[batch], mirrored.astype(int)].float() for level in features.levels]
                optimizer.zero_grad(set_to_none=True)
                (student.loss(samples, levels) / BATCH).backward()
                optimizer.step()
                schedule.step()
        student.module.eval()
        return cls(student, features)

    def predict(self, data: Dataset) -> list[Detections]:
        """Of each image."""
        out: list[Detections] = []
        with torch.inference_mode():
            for start in range(0, len(data), 64):
                part = data.images[start : start + 64]
                rows = [self.features.rows[image.id] for image in part]
                boxes = self.detector.boxes([level[rows, 0].float() for level in self.features.levels], THRESHOLD)
                for found, row, image in zip(boxes, rows, part, strict=True):
                    offset = (float(self.features.offsets[row][0]), float(self.features.offsets[row][1]))
                    out.append(in_picture(found, float(self.features.scales[row]), offset, image.size))
        return out


def _linear(names: Sequence[str]) -> YoloDetector:
    """The body's architecture for these classes, with a linear head."""
    body = open_detector(str(BODY))
    assert isinstance(body, YoloDetector)
    detector = body.untrained(names, SIDE, 0)
    head = detector.module.model[-1]
    for k, before in enumerate(body.module.model[-1].cv2):
        channels = before[0].conv.in_channels
        head.cv2[k] = torch.nn.Conv2d(channels, 4 * head.reg_max, 1)
        head.cv3[k] = torch.nn.Conv2d(channels, len(names), 1)
        torch.nn.init.zeros_(head.cv3[k].weight)
        torch.nn.init.constant_(head.cv3[k].bias, -6.0)
        torch.nn.init.constant_(head.cv2[k].bias, 1.0)
    return detector


def _compute(data: Dataset, file: Path) -> None:
    body = open_detector(str(BODY))
    assert isinstance(body, YoloDetector)
    looking = body.teacher()
    parts: list[list[torch.Tensor]] = []
    scales, offsets = [], []
    for image in data.images:
        square, scale, offset = letterbox(load_image(image.path), SIDE)
        scales.append(scale)
        offsets.append(offset)
        plain = torch.from_numpy(square).permute(2, 0, 1)
        with torch.inference_mode():
            parts.append([level.half() for level in looking.levels(torch.stack([plain, plain.flip(2)]))])
    levels: dict[str, Any] = {
        f"level{k}": torch.stack(level).numpy() for k, level in enumerate(zip(*parts, strict=True))
    }
    ids = np.array([image.id for image in data.images])
    temporary = file.with_name(f".tmp-{file.name}")
    np.savez(temporary, ids=ids, scales=np.array(scales), offsets=np.array(offsets), **levels)
    temporary.replace(file)

"""Detections: the one value that every part of the product exchanges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Detections:
    """The boxes a detector found in one image, best first.

    Attributes:
        xyxy: (n, 4) float32, corners in pixels of the image as displayed (EXIF orientation applied).
        scores: (n,) float32 in [0, 1].
        class_ids: (n,) int64, indices into the detector's `names`.
        class_scores: (n, C) float32, the score of every class for each box, where the detector gives them; its maximum
            is `scores`. Uncertainty descriptors need it.
        size: (width, height) of the image in pixels.
    """

    xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    class_scores: np.ndarray
    size: tuple[int, int]

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.xyxy.shape != (n, 4) or self.class_ids.shape != (n,) or self.class_scores.shape[:1] != (n,):
            raise ValueError(
                f"Detections of one image must agree in length: xyxy {self.xyxy.shape}, scores {self.scores.shape}, "
                f"class_ids {self.class_ids.shape}, class_scores {self.class_scores.shape}"
            )

    @classmethod
    def empty(cls, n_classes: int, size: tuple[int, int]) -> Detections:
        """No box at all in an image of `size` (width, height)."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int64),
            np.zeros((0, n_classes), np.float32),
            size,
        )

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> Detections:
        """Only the boxes that score at least `threshold`."""
        keep = self.scores >= threshold
        return Detections(self.xyxy[keep], self.scores[keep], self.class_ids[keep], self.class_scores[keep], self.size)

    def renamed(self, names: Sequence[str], label_map: Mapping[str, str], labels: Sequence[str]) -> Detections:
        """The same boxes with class ids of `labels`: class k is `label_map[names[k]]`; boxes without a label go.

        Where several classes share a label (`predicted_values="car, truck"`), its class score is the largest of theirs.
        """
        position = {label: k for k, label in enumerate(labels)}
        target = np.array([position.get(label_map.get(name, ""), -1) for name in names], np.int64)
        class_scores = np.zeros((len(self), len(labels)), np.float32)
        for k, to in enumerate(target):
            if to >= 0:
                np.maximum(class_scores[:, to], self.class_scores[:, k], out=class_scores[:, to])
        class_ids = target[self.class_ids]
        keep = class_ids >= 0
        return Detections(self.xyxy[keep], self.scores[keep], class_ids[keep], class_scores[keep], self.size)

    def to_coco(self, image_id: int, category_ids: Sequence[int] | None = None) -> list[dict]:
        """COCO results (`bbox` = x, y, width, height in pixels).

        `category_ids[k]` is the COCO category of class k; without it, k + 1.
        """
        boxes: Any = self.xyxy.astype(np.float64).tolist()
        return [
            {
                "image_id": image_id,
                "category_id": int(k) + 1 if category_ids is None else int(category_ids[k]),
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(s),
            }
            for (x1, y1, x2, y2), s, k in zip(boxes, self.scores, self.class_ids, strict=True)
        ]

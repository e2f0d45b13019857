"""Detections: the one value that every part of the product exchanges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Detections:
    """The boxes a detector found in one image, best first.

    Two boxes of a detector whose `names` are ("stop", "yield"), in an image of 320 x 240 pixels:

        >>> detections = Detections(
        ...     xyxy=np.array([[10, 20, 40, 60], [200, 80, 230, 110]], np.float32),
        ...     scores=np.array([0.9, 0.3], np.float32),
        ...     class_ids=np.array([0, 1]),
        ...     class_scores=np.array([[0.9, 0.1], [0.2, 0.3]], np.float32),
        ...     size=(320, 240),
        ... )
        >>> len(detections.above(0.5))
        1
        >>> detections.to_coco(image_id=7)[0]["bbox"]  # x, y, width, height
        [10.0, 20.0, 30.0, 40.0]
        >>> detections.renamed(("stop", "yield"), {"yield": "Give way"}, labels=("Give way",)).class_ids.tolist()
        [0]

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
        label_of = np.array([position.get(label_map.get(name, ""), -1) for name in names], np.int64)
        class_scores = np.zeros((len(self), len(labels)), np.float32)
        for k, label in enumerate(label_of):
            if label >= 0:
                np.maximum(class_scores[:, label], self.class_scores[:, k], out=class_scores[:, label])
        class_ids = label_of[self.class_ids]
        keep = class_ids >= 0
        return Detections(self.xyxy[keep], self.scores[keep], class_ids[keep], class_scores[keep], self.size)

    def to_coco(self, image_id: int) -> list[dict]:
        """COCO results: `bbox` is x, y, width, height in pixels; category k + 1 is class k."""
        boxes: Any = self.xyxy.astype(np.float64).tolist()
        return [
            {
                "image_id": image_id,
                "category_id": int(k) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "score": float(s),
            }
            for (x1, y1, x2, y2), s, k in zip(boxes, self.scores, self.class_ids, strict=True)
        ]

"""The reported mAP: COCO's, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from model.data.dataset import Dataset
from model.data.detections import Detections
from model.progress import Report, silent

if TYPE_CHECKING:  # scoring needs no network
    from model.detectors.base import Detector


@dataclass(frozen=True)
class Metrics:
    """COCO box metrics in [0, 1]; -1.0 where there is no ground truth, as in pycocotools.

    Attributes:
        map: mean over IoU .50:.05:.95 and the classes that have ground truth.
        map50, map75: the same at one IoU.
        per_class: name -> AP (IoU .50:.95).
        images, boxes: what stood behind the figures.
        map_error, map_interval: standard error and 95 % interval of `map` where somebody resampled the images.
        class_intervals: name -> 95 % interval of its AP, the same; without classes that too few images show.
    """

    map: float
    map50: float
    map75: float
    per_class: dict[str, float]
    images: int
    boxes: int
    map_error: float | None = None
    map_interval: tuple[float, float] | None = None
    class_intervals: dict[str, tuple[float, float]] | None = None

    def __str__(self) -> str:
        classes = ", ".join(f"{name} {ap:.3f}" for name, ap in self.per_class.items() if ap >= 0)
        error = "" if self.map_error is None else f" ± {self.map_error:.3f}"
        return (
            f"mAP {self.map:.3f}{error}  AP50 {self.map50:.3f}  AP75 {self.map75:.3f}  "
            f"({self.images} images, {self.boxes} boxes: {classes})"
        )

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)


def detect(
    detector: Detector, dataset: Dataset, label_map: Mapping[str, str] | None = None, report: Report = silent
) -> list[Detections]:
    """What a detector finds in each image of a data set, in the classes of the data set.

    `label_map` takes the detector's classes to the data set's (see `Detections.renamed`); without it both are the same.
    """
    raw = detector.predict([image.path for image in dataset.images], report=report)
    if label_map is None:
        return raw
    return [detections.renamed(detector.names, label_map, dataset.names) for detections in raw]


def evaluate(dataset: Dataset, detections: Sequence[Detections]) -> Metrics:
    """Score `detections[i]` against `dataset.images[i]` with pycocotools (area = all, maxDets = 100).

    The detections' classes are those of `dataset.names`.
    """
    if len(detections) != len(dataset):
        raise ValueError(f"{len(detections)} detections for {len(dataset)} images")
    results = [
        result for image, boxes in zip(dataset.images, detections, strict=True) for result in boxes.to_coco(image.id)
    ]
    if dataset.boxes == 0:
        return Metrics(-1.0, -1.0, -1.0, dict.fromkeys(dataset.names, -1.0), len(dataset), 0)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints tables
        truth = COCO()
        truth.dataset = dataset.to_coco()
        truth.createIndex()
        run = COCOeval(truth, truth.loadRes(results) if results else COCO(), "bbox")
        run.params.imgIds = sorted(image.id for image in dataset.images)
        run.params.catIds = list(range(1, len(dataset.names) + 1))
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, -1]  # IoU, recall, class

    def average(values: np.ndarray) -> float:
        measured = values[values > -1]
        return float(measured.mean()) if len(measured) else -1.0

    return Metrics(
        map=average(precision),
        map50=average(precision[0]),
        map75=average(precision[5]),
        per_class={name: average(precision[:, :, k]) for k, name in enumerate(dataset.names)},
        images=len(dataset),
        boxes=dataset.boxes,
    )

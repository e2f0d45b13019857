"""What a user draws while a smart tool is on: which boxes of the detector it asks for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from backend.label_studio.config import LabelConfig
from backend.label_studio.regions import labels_of, shape_of
from backend.label_studio.shapes import ShapeError, box, outline

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """A place that was drawn.

    Attributes:
        points: (n, 2) points around it in percent of the image; one for a point.
        labels: that it was drawn with, if any.
    """

    points: np.ndarray
    labels: Sequence[str]

    def asks_for(self, box: dict[str, Any]) -> bool:
        """Whether the value of an upright rectangle is meant: its centre lies in the place, or the point in it."""
        if self.labels and not set(self.labels) & set(box["rectanglelabels"]):
            return False
        low = np.array([box["x"], box["y"]])
        high = low + np.array([box["width"], box["height"]])
        if len(self.points) == 1:
            return bool(((low <= self.points[0]) & (self.points[0] <= high)).all())
        x, y = ((low + high) / 2).tolist()
        return cv2.pointPolygonTest(self.points.astype(np.float32), (x, y), False) >= 0


def places(drawing: Sequence[Any], config: LabelConfig, size: tuple[int, int]) -> list[Place]:
    """The places that a drawing names on an image of `size`; one that cannot be understood is told to the log."""
    found = []
    for one in drawing:
        try:
            kind = shape_of(one, config)
            if kind is None:
                continue
            points = outline(kind, one, size)
            if len(points) > 1:
                box(points, size)  # it must have a size, and lie in the image
            found.append(Place(100 * points / size, labels_of(one, drawing, config)))
        except ShapeError as error:
            log.warning("a prompt is passed over: %s", error)
    return found

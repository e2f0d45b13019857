"""A project's tasks as the agent sees them: images to look at, and the boxes that its detector shows in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from backend.label_studio.client import Task
from backend.label_studio.images import Pictures
from backend.label_studio.labels import LabelConfig, regions
from backend.project.published import PredictionRow, Predictions
from model.data.detections import Detections
from model.data.images import ImageError
from model.thresholds import Thresholds


@dataclass(frozen=True)
class TaskImages:
    """The images of tasks: `agent.pool.images.Images`.

    Attributes:
        data_key: the key of `task.data` that holds the image.
        failed: gets a line for each image that cannot be read.
    """

    tasks: Sequence[Task]
    pictures_of: Pictures
    data_key: str
    failed: list[str]

    def keys(self) -> list[tuple[int, str]]:
        """The image's address stands for what is in it."""
        return [(task.id, str(task.data.get(self.data_key))) for task in self.tasks]

    def pictures(self, ids: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Decoded, downloaded a few ahead."""
        for task, picture in self.pictures_of.stream(self._tasks(ids), self.data_key, self.failed):
            yield task.id, picture

    def contents(self, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Encoded, as they were uploaded."""
        for task in self._tasks(ids):
            with suppress(ImageError):  # the scan has told of it
                yield task.id, self.pictures_of.read(task, self.data_key)

    def _tasks(self, ids: Sequence[int]) -> list[Task]:
        by_id = {task.id: task for task in self.tasks}
        return [by_id[image] for image in ids]


@dataclass
class ShownBoxes:
    """Puts every box that a detector would show into `predictions`: `agent.pool.images.DetectionSink`.

    The score of an image is that of its best box that has a label, shown or not; 0 where there is none.

    Attributes:
        addresses: the image of each task.
        names: the detector's classes, and `label_map` to the project's labels.
        thresholds: boxes that score lower are not shown.
    """

    predictions: Predictions
    addresses: dict[int, str]
    config: LabelConfig
    names: tuple[str, ...]
    label_map: dict[str, str]
    thresholds: Thresholds
    rows: list[PredictionRow] = field(default_factory=list)

    def keep(self, image: int, detections: Detections) -> None:
        """See `DetectionSink.keep`."""
        shown = regions(detections, self.names, self.config, self.label_map, self.thresholds)
        labeled = np.array([name in self.label_map for name in self.names], bool)[detections.class_ids]
        best = float(detections.scores[labeled].max(initial=0.0))
        self.rows.append((image, self.addresses[image], best, shown))

    def flush(self) -> None:
        """See `DetectionSink.flush`."""
        self.predictions.put(self.rows)
        self.rows.clear()

"""NetworkDetector: what all detectors that are torch networks share, and the few things that each family does its way.

A network looks at squares (model.data.images.letterbox) in two steps: its body turns a picture into levels of features,
its head turns the levels into boxes. Everything else, from reading pictures to training, is the same for every family.
"""

from __future__ import annotations

import copy
import threading
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from model.data.dataset import Dataset
from model.data.detections import Detections
from model.data.images import Letterboxed, load_image
from model.detectors.base import Detector, FitConfig, Picture
from model.detectors.training import Sample, train
from model.progress import Report, silent

MAX_BOXES = 300  # of a picture


class Boxes(NamedTuple):
    """What a network finds in one square, best first, on the CPU."""

    xyxy: torch.Tensor
    """(n, 4) float32, corners in the square's pixels"""
    scores: torch.Tensor
    """(n,) float32 in [0, 1]"""
    class_ids: torch.Tensor
    """(n,) int64"""
    class_scores: torch.Tensor
    """(n, C) float32, the score of every class; the largest is the box's score"""


class NetworkDetector(Detector):
    """A detector on a torch module.

    Attributes:
        module: the network. It lies on the CPU; copies of it scan and learn on `device`.
        background: rows before those of the classes in a weight that has a row for each class (see `by_class`).
        pace: what a learning rate is multiplied by. Rates are set for YOLO; other families ask for other ones.
    """

    background = 0
    pace = 1.0

    def __init__(self, module: Any, names: Iterable[str], image_size: int, device: str | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.module = module.float().eval()
        self.names = tuple(names)
        self.image_size = image_size
        self._serving: NetworkDetector | None = None
        self._lock = threading.Lock()  # heads keep their anchors in themselves while they run

    # -- what each family does its way ---------------------------------------------------------------------------------

    @abstractmethod
    def untrained(self, names: Sequence[str], image_size: int, seed: int) -> NetworkDetector:
        """The same architecture with random weights, for other classes."""

    @abstractmethod
    def body(self) -> Iterable[torch.nn.Module]:
        """The layers before the head."""

    @abstractmethod
    def levels(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """What enters the head, a (B, C, H, W) tensor a level, for (B, 3, S, S) uint8 pictures."""

    @abstractmethod
    def boxes(self, levels: list[torch.Tensor], threshold: float) -> list[Boxes]:
        """Each picture's boxes that score above `threshold`, at most MAX_BOXES."""

    @abstractmethod
    def loss(self, samples: Sequence[Sample], levels: list[torch.Tensor] | None = None) -> torch.Tensor:
        """The family's own loss, () summed over the samples; from their `levels`, where given, through the head."""

    @abstractmethod
    def by_class(self, key: str, value: torch.Tensor) -> torch.Tensor | None:
        """A weight, by its key in the module's state, as a view whose first axis is `background` rows and then the
        classes; None for a weight that does not depend on the classes."""

    # -- what they share ----------------------------------------------------------------------------------------------

    def scan(
        self, pictures: Iterable[Picture], *, batch: int = 16, threshold: float = 0.001
    ) -> Iterator[tuple[Detections, np.ndarray]]:
        """See `Detector.scan`. Encodings are the mean of each level that enters the head."""
        squares = map(self._square, pictures)  # one whole picture at a time: they may be large
        while chunk := list(islice(squares, batch)):
            stacked = torch.from_numpy(np.stack([one.square for one in chunk])).permute(0, 3, 1, 2)
            boxes, encodings = self._look(stacked, threshold)
            for k, one in enumerate(chunk):
                yield in_picture(boxes[k], one.scale, one.offset, one.size), encodings[k]

    def copy(self) -> Self:
        """The same detector on a module of its own."""
        twin = copy.copy(self)
        twin.module = copy.deepcopy(self.module)
        twin._serving, twin._lock = None, threading.Lock()
        return twin

    def teacher(self) -> Self:
        """A copy on the device that looks and does not learn."""
        twin = self.copy()
        twin.module.eval().to(self.device)
        return twin

    def student(self, *, frozen: bool = False) -> Self:
        """A copy on the device that learns. With `frozen`, the body keeps its weights and its batch statistics."""
        twin = self.copy()
        twin.module.to(self.device, memory_format=torch.channels_last).train().requires_grad_(True)
        if frozen:
            for layer in twin.body():
                layer.requires_grad_(False).eval()
        return twin

    def fit(
        self,
        dataset: Dataset,
        config: FitConfig | None = None,
        *,
        from_scratch: bool = False,
        report: Report = silent,
        checkpoint: Path | None = None,
    ) -> NetworkDetector:
        """See `Detector.fit`. Layers that do not depend on the classes start from this detector's weights, and so do
        the classes that both know by name; the rest, or with `from_scratch` everything, starts at random."""
        config = config or FitConfig(image_size=self.image_size)
        blank = self.untrained(dataset.names, config.image_size, config.seed)
        if not from_scratch:
            transfer(self, blank)
        student = blank.student()
        del blank  # it is as large as the student
        config = replace(config, learning_rate=config.learning_rate * self.pace)
        student.fit_seconds = train(student.module, student.loss, dataset, config, report, checkpoint)
        student.module.eval().cpu().half().float()  # what `save` writes, so that the metrics are the saved file's
        return student.copy()

    def _square(self, picture: Picture) -> Letterboxed:
        if not isinstance(picture, Letterboxed):
            image = picture if isinstance(picture, np.ndarray) else load_image(picture)
            return Letterboxed.of(image, self.image_size)
        if len(picture.square) != self.image_size:
            raise ValueError(f"a square of {len(picture.square)} pixels for a detector of {self.image_size}")
        return picture

    def _ready(self) -> NetworkDetector:
        """The copy that scans."""
        return self.teacher()

    def _look(self, pictures: torch.Tensor, threshold: float) -> tuple[list[Boxes], np.ndarray]:
        """Boxes and encodings (B, D) of (B, 3, S, S) uint8 pictures."""
        with self._lock, torch.inference_mode():
            if self._serving is None:
                self._serving = self._ready()
            self._serving.image_size = self.image_size  # whoever opened the detector may have set it
            levels = self._serving.levels(pictures)
            encodings = torch.cat([level.mean(dim=(2, 3)) for level in levels], dim=1).float().cpu().numpy()
            return self._serving.boxes(levels, threshold), encodings


def in_picture(boxes: Boxes, scale: float, offset: tuple[float, float], size: tuple[int, int]) -> Detections:
    """Boxes of a square in the pixels of the picture of `size` (width, height) that `letterbox` fitted into it."""
    xyxy = (boxes.xyxy.numpy() - np.array([*offset, *offset], np.float32)) / np.float32(scale)
    xyxy = np.clip(xyxy, 0, np.array([*size, *size], np.float32))
    solid = (xyxy[:, 2] - xyxy[:, 0] > 0.5) & (xyxy[:, 3] - xyxy[:, 1] > 0.5)  # drops what lay in the grey border
    return Detections(
        xyxy[solid],
        boxes.scores.numpy()[solid],
        boxes.class_ids.numpy()[solid],
        boxes.class_scores.numpy()[solid],
        size,
    )


def transfer(old: NetworkDetector, new: NetworkDetector) -> None:
    """Copy every weight of the same shape, and the rows of classes that both detectors know by name."""
    lower = [name.lower() for name in old.names]
    rows = [(k, k) for k in range(new.background)]
    for k, name in enumerate(new.names):
        if name.lower() in lower:
            rows.append((old.background + lower.index(name.lower()), new.background + k))
    source = old.module.state_dict()
    for key, value in new.module.state_dict().items():
        if key not in source:
            continue
        theirs, ours = old.by_class(key, source[key]), new.by_class(key, value)
        if theirs is not None and ours is not None:
            if theirs.shape[1:] == ours.shape[1:]:
                for from_row, to_row in rows:
                    ours[to_row] = theirs[from_row]
        elif source[key].shape == value.shape:
            value.copy_(source[key])

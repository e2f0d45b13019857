"""Pool: the unlabeled images that a strategy chooses from, each as numbers.

Built by one streaming pass of the detector; pictures and detections are let go as it runs, so that a pool of 100,000
images takes a few hundred megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from agent.descriptors import BOX_COLUMNS, class_weights, describe, weakness_of
from agent.distances import density, novelty, standardise
from model.detections import Detections
from model.detector import Detector, Picture
from model.progress import Report, silent

COLUMNS = (*BOX_COLUMNS, "novelty", "density", "weakness")


@dataclass(frozen=True, eq=False)
class Pool:
    """Unlabeled candidates.

    Attributes:
        ids: (n,) int64, unique.
        encodings: (n, D) float32, from `Detector.scan`.
        descriptors: (n, K) float32, one column per name in `columns`. From boxes: see `agent.descriptors.describe`.
            novelty: distance to the nearest labeled image; with nothing labeled, to the mean of the pool.
            density: mean distance to the 10 nearest other images of the pool; small where images crowd. In a pool of
            more than 4,096 images neighbours are sought among 4,096 of them, evenly spaced.
            weakness: expected boxes weighted by 1 - AP of their class.
            Distances are Euclidean between `standardised` encodings.
        columns: the K names.
        expected: (n, C) float32, expected boxes per class: the sum of the class's score over the image's boxes.
        names: the C class names.
        labeled_encodings: (m, D) float32, of the images already labeled, by the same detector.
        class_ap: (C,) float64, AP of each class on the holdout, -1 where unknown.
    """

    ids: np.ndarray
    encodings: np.ndarray
    descriptors: np.ndarray
    columns: tuple[str, ...]
    expected: np.ndarray
    names: tuple[str, ...]
    labeled_encodings: np.ndarray
    class_ap: np.ndarray

    def __post_init__(self) -> None:
        n, classes = len(self.ids), len(self.names)
        wanted = {
            "ids": (n,),
            "encodings": (n, self.encodings.shape[-1]),
            "descriptors": (n, len(self.columns)),
            "expected": (n, classes),
            "labeled_encodings": (len(self.labeled_encodings), self.encodings.shape[-1]),
            "class_ap": (classes,),
        }
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"pool of {n} images and {classes} classes: {name} has shape {getattr(self, name).shape}, "
                    f"not {shape}; encodings of the pool and of the labeled images must come from one detector"
                )
        values, counts = np.unique(self.ids, return_counts=True)
        if (counts > 1).any():
            raise ValueError(f"image ids {values[counts > 1][:5].tolist()} occur twice in the pool: give each once")

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> np.ndarray:
        """(n,) float32, one descriptor. Raises KeyError on a name that is not in `columns`."""
        if name not in self.columns:
            raise KeyError(f"descriptor {name!r}: the pool has {', '.join(self.columns)}")
        return self.descriptors[:, self.columns.index(name)]

    @cached_property
    def standardised(self) -> np.ndarray:
        """(n, D) float32 encodings in the space of `agent.distances.standardise`, where distances are taken."""
        return standardise(self.encodings, self.labeled_encodings)[0]

    @classmethod
    def scan(
        cls,
        detector: Detector,
        pictures: Iterable[tuple[int, Picture]],
        *,
        labeled_encodings: np.ndarray,
        class_ap: np.ndarray,
        on_detections: Callable[[int, Detections], None] | None = None,
        batch: int = 16,
        total: int,
        report: Report = silent,
    ) -> Pool:
        """Look at every picture once with `detector`, reading `batch` at a time.

        Args:
            detector: the serving detector; its names become the pool's.
            pictures: (image id, picture), `total` of them.
            labeled_encodings: (m, D), may be empty.
            class_ap: (C,), -1 where unknown.
            on_detections: called with each id and all its detections, before they are let go.
            report: called after every batch.

        Raises:
            ImageError: a picture cannot be read.
        """
        ids: list[int] = []

        def remember() -> Iterator[Picture]:
            for image_id, picture in pictures:
                ids.append(image_id)
                yield picture

        encodings: list[np.ndarray] = []

        def look() -> Iterator[Detections]:
            for detections, encoding in detector.scan(remember(), batch=batch):
                if on_detections is not None:
                    on_detections(ids[len(encodings)], detections)
                encodings.append(encoding)
                yield detections
                if len(encodings) % batch == 0 or len(encodings) == total:
                    report(len(encodings), total)

        # `ids` and `encodings` fill up while from_detections draws from look()
        return cls.from_detections(ids, look(), encodings, detector.names, labeled_encodings, class_ap)

    @classmethod
    def from_detections(
        cls,
        ids: Sequence[int] | np.ndarray,
        detections: Iterable[Detections],
        encodings: Sequence[np.ndarray] | np.ndarray,
        names: Sequence[str],
        labeled_encodings: np.ndarray,
        class_ap: np.ndarray,
    ) -> Pool:
        """A pool from one detection result and one encoding per id.

        Detections are drawn one at a time and not kept; `ids` and `encodings` are read after the last of them.
        Empty `encodings` or `labeled_encodings` may have any shape.
        """
        boxes, expected = _describe_all(detections, names, class_ap)
        encodings = np.asarray(encodings, np.float32)
        labeled = np.asarray(labeled_encodings, np.float32)
        if not len(ids) == len(boxes) == len(encodings):
            raise ValueError(f"{len(ids)} ids, detections of {len(boxes)} images, {len(encodings)} encodings")
        width = encodings.shape[-1] if len(encodings) else labeled.shape[-1]
        encodings = encodings if len(encodings) else np.zeros((0, width), np.float32)
        labeled = labeled if len(labeled) else np.zeros((0, width), np.float32)
        if labeled.shape[-1] != width:
            raise ValueError(
                f"encodings have {width} values but labeled_encodings {labeled.shape[-1]}: encode both with the same "
                "detector"
            )
        broken = np.asarray(ids)[~np.isfinite(encodings).all(axis=1)][:5].tolist()
        if broken or not np.isfinite(labeled).all():
            raise ValueError(
                f"encodings of {f'images {broken}' if broken else 'labeled images'} are not finite: the detector's "
                "weights have diverged; train again, or go back to an earlier version"
            )
        x, known = standardise(encodings, labeled)
        weakness = expected @ weakness_of(class_ap)
        return cls(
            ids=np.asarray(ids, np.int64).reshape(-1),
            encodings=encodings,
            descriptors=np.column_stack([boxes, novelty(x, known), density(x), weakness]).astype(np.float32),
            columns=COLUMNS,
            expected=expected.astype(np.float32),
            names=tuple(names),
            labeled_encodings=labeled,
            class_ap=np.asarray(class_ap, np.float64),
        )


def _describe_all(
    detections: Iterable[Detections], names: Sequence[str], class_ap: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(n, boxes' columns) and (n, C) from detections that are looked at one by one."""
    if np.shape(class_ap) != (len(names),):
        raise ValueError(f"class_ap has shape {np.shape(class_ap)} for {len(names)} classes: give one AP per class")
    if not np.isfinite(class_ap).all():
        raise ValueError(f"class_ap {np.asarray(class_ap).tolist()}: give -1 where the AP of a class is unknown")
    weights = class_weights(class_ap)
    boxes: list[np.ndarray] = []
    expected: list[np.ndarray] = []
    for found in detections:
        if found.class_scores.shape[1] != len(names):
            raise ValueError(
                f"detections of image {len(boxes)} of the pool have {found.class_scores.shape[1]} class scores a box, "
                f"for {len(names)} classes: a pool needs the score of every class"
            )
        row, per_class = describe(found, weights)
        boxes.append(row)
        expected.append(per_class)
    return np.reshape(boxes, (len(boxes), len(BOX_COLUMNS))), np.reshape(expected, (len(boxes), len(names)))

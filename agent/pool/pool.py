"""Pool: the unlabeled images that a strategy chooses from, each as numbers.

Built by one streaming pass of the detector; pictures and detections are let go as it runs. In memory a pool of 100,000
images takes a few hundred megabytes; a larger one comes from `agent.pool.store`, where its arrays lie on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from agent.pool.descriptors import BOX_COLUMNS, describe, weakness_of, weigh
from agent.pool.distances import density, novelty
from agent.pool.ids import rows_of_all
from agent.pool.reduction import CHUNK, Matrix, Reduction, allocate, chunks
from model.data.detections import Detections

COLUMNS = (*BOX_COLUMNS, "novelty", "density", "weakness")
NOVELTY, DENSITY, WEAKNESS = (COLUMNS.index(name) for name in ("novelty", "density", "weakness"))


@dataclass(frozen=True, eq=False)
class Pool:
    """Unlabeled candidates.

    Two images, in the first of which the detector found a box, beside one that is labeled:

        >>> box = Detections(
        ...     xyxy=np.array([[4, 4, 20, 20]], np.float32),
        ...     scores=np.array([0.9], np.float32),
        ...     class_ids=np.array([0]),
        ...     class_scores=np.array([[0.9, 0.2]], np.float32),
        ...     size=(64, 48),
        ... )
        >>> pool = Pool.from_detections(
        ...     ids=[7, 9],
        ...     detections=[box, box.above(1.0)],
        ...     encodings=np.array([[1, 0], [0, 1]]),
        ...     names=["stop", "yield"],
        ...     labeled_encodings=np.array([[1, 0]]),
        ...     class_ap=np.array([0.2, -1]),
        ... )
        >>> pool.expected.astype(float).round(2).tolist()  # boxes of each class; none in image 9
        [[0.9, 0.2], [0.0, 0.0]]
        >>> [f"{value:.2f}" for value in pool.column("weakness")]  # 0.9 * (1 - 0.2) + 0.2 * 1: AP -1 counts as 0
        ['0.92', '0.00']
        >>> [f"{value:.2f}" for value in pool.column("novelty")]  # image 7 looks like the labeled one
        ['0.00', '2.12']
        >>> pool.rows([9, 7]).tolist()
        [1, 0]

    Attributes:
        ids: (n,) int64, unique.
        encodings: (n, D) from `Detector.scan`: a float32 array, or float16 rows of a file.
        descriptors: (n, K) float32, one column per name in `columns`. From boxes: see `agent.pool.descriptors.weigh`.
            novelty: distance to the nearest labeled image; with nothing labeled, to the mean of the pool.
            density: mean distance to the 10 nearest other images of the pool; small where images crowd. In a pool of
            more than 4,096 images neighbours are sought among 4,096 of them, evenly spaced; of more than 100,000,
            among 1,024.
            weakness: expected boxes weighted by 1 - AP of their class.
            Distances are Euclidean between `standardised` encodings.
        columns: the K names.
        expected: (n, C) float32, expected boxes per class: the sum of the class's score over the image's boxes.
        names: the C class names.
        labeled_encodings: (m, D), of the images already labeled, by the same detector.
        class_ap: (C,) float64, AP of each class on the holdout, -1 where unknown.
        reduction: the map from encodings to `standardised`.
        labeled_ids: (m,) int64, and labeled_expected (m, C) float32, their expected boxes; None where only their
            encodings are known.
        directory: where `standardised` is put, with no name there; None means in memory.
    """

    ids: np.ndarray
    encodings: Matrix
    descriptors: np.ndarray
    columns: tuple[str, ...]
    expected: np.ndarray
    names: tuple[str, ...]
    labeled_encodings: Matrix
    class_ap: np.ndarray
    reduction: Reduction
    labeled_ids: np.ndarray | None = None
    labeled_expected: np.ndarray | None = None
    directory: Path | None = None

    def __post_init__(self) -> None:
        n, m, classes = len(self.ids), len(self.labeled_encodings), len(self.names)
        shapes = {
            "ids": (n,),
            "encodings": (n, self.encodings.shape[-1]),
            "descriptors": (n, len(self.columns)),
            "expected": (n, classes),
            "labeled_encodings": (m, self.encodings.shape[-1]),
            "class_ap": (classes,),
            "labeled_ids": (m,),
            "labeled_expected": (m, classes),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(
                    f"pool of {n} images and {classes} classes, {m} labeled: {name} has shape {value.shape}, "
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

    def rows(self, ids: np.ndarray | Sequence[int]) -> np.ndarray:
        """(k,) int64, the row of each of these images. Raises KeyError on an id that the pool has not."""
        return rows_of_all(self.ids, ids)

    @cached_property
    def standardised(self) -> np.ndarray:
        """(n, k) float32 encodings in the space of `reduction`, where distances are taken."""
        return self.reduction.apply(self.encodings, self.directory)

    @cached_property
    def labeled_standardised(self) -> np.ndarray:
        """(m, k) float32, the labeled images in the same space."""
        return self.reduction.apply(self.labeled_encodings)

    def take(self, rows: np.ndarray) -> Pool:
        """The pool of these rows only, described and compared as they are here."""
        part = replace(
            self,
            ids=self.ids[rows],
            encodings=self.encodings[rows],
            descriptors=self.descriptors[rows],
            expected=self.expected[rows],
        )
        part.__dict__["standardised"] = self.standardised[rows]  # what the cached property would compute
        return part

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
        summaries = _describe_all(detections, names)
        encodings = np.asarray(encodings, np.float32)
        labeled = np.asarray(labeled_encodings, np.float32)
        if not len(ids) == len(summaries) == len(encodings):
            raise ValueError(f"{len(ids)} ids, detections of {len(summaries)} images, {len(encodings)} encodings")
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
        return cls.from_summaries(ids, summaries, encodings, names, labeled, class_ap)

    @classmethod
    def from_summaries(
        cls,
        ids: Sequence[int] | np.ndarray,
        summaries: Matrix,
        encodings: Matrix,
        names: Sequence[str],
        labeled_encodings: Matrix,
        class_ap: np.ndarray,
        *,
        labeled_ids: np.ndarray | None = None,
        labeled_summaries: Matrix | None = None,
        directory: Path | None = None,
    ) -> Pool:
        """A pool from one row of `agent.pool.descriptors.describe` (n, 4 + 2 C) and one encoding (n, D) per id.

        Rows are read in chunks; with a `directory`, what is made of them is put there, in files that go with the pool.
        `labeled_summaries` (m, 4 + 2 C), where given, tell the labeled images' expected boxes.
        """
        class_ap = _checked(class_ap, names)
        descriptors, expected = _weigh_all(summaries, class_ap, directory)
        labeled_expected = None
        if labeled_summaries is not None:
            labeled_expected = weigh(labeled_summaries[:], class_ap)[1].astype(np.float32)
        pool = cls(
            ids=np.asarray(ids, np.int64).reshape(-1),
            encodings=encodings,
            descriptors=descriptors,
            columns=COLUMNS,
            expected=expected,
            names=tuple(names),
            labeled_encodings=labeled_encodings,
            class_ap=class_ap,
            reduction=Reduction.fit(encodings, labeled_encodings),
            labeled_ids=labeled_ids,
            labeled_expected=labeled_expected,
            directory=directory,
        )
        descriptors[:, NOVELTY] = novelty(pool.standardised, pool.labeled_standardised)
        descriptors[:, DENSITY] = density(pool.standardised)
        return pool


def _checked(class_ap: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """(C,) float64. Raises ValueError on another shape and on what is not finite."""
    if np.shape(class_ap) != (len(names),):
        raise ValueError(f"class_ap has shape {np.shape(class_ap)} for {len(names)} classes: give one AP per class")
    if not np.isfinite(class_ap).all():
        raise ValueError(f"class_ap {np.asarray(class_ap).tolist()}: give -1 where the AP of a class is unknown")
    return np.asarray(class_ap, np.float64)


def _weigh_all(summaries: Matrix, class_ap: np.ndarray, directory: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """(n, K) descriptors, those that are distances left at 0, and (n, C) expected boxes."""
    descriptors = allocate((len(summaries), len(COLUMNS)), directory)
    expected = allocate((len(summaries), len(class_ap)), directory)
    weakness = weakness_of(class_ap)
    for chunk in chunks(len(summaries), CHUNK):
        boxes, expected[chunk] = weigh(summaries[chunk], class_ap)
        descriptors[chunk, : len(BOX_COLUMNS)] = boxes
        descriptors[chunk, WEAKNESS] = expected[chunk] @ weakness
    return descriptors, expected


def _describe_all(detections: Iterable[Detections], names: Sequence[str]) -> np.ndarray:
    """(n, 4 + 2 C) float32 from detections that are looked at one by one."""
    rows: list[np.ndarray] = []
    for boxes in detections:
        if boxes.class_scores.shape[1] != len(names):
            raise ValueError(
                f"detections of image {len(rows)} of the pool have {boxes.class_scores.shape[1]} class scores a box, "
                f"for {len(names)} classes: a pool needs the score of every class"
            )
        rows.append(describe(boxes).astype(np.float32))
    return np.reshape(rows, (len(rows), 4 + 2 * len(names))).astype(np.float32)

"""From COCO dicts, or our own Dataset and Detections, to the flat arrays that matching reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from model.data.dataset import Dataset
from model.data.detections import Detections

WHOLE = {int, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64}
"""Types of ids; bool is none of them."""


@dataclass(frozen=True)
class ParsedBoxes:
    """n boxes: `image` and `category` are (n,) int64 indices, `xywh` is (n, 4) float64 in pixels.

    `value` is (n,) float64: the score of a detection, the area of a ground truth. `crowd` is (n,) bool.
    """

    image: np.ndarray
    category: np.ndarray
    xywh: np.ndarray
    value: np.ndarray
    crowd: np.ndarray

    def keep(self, mask: np.ndarray) -> ParsedBoxes:
        """The boxes where `mask` is true, in the same order."""
        return ParsedBoxes(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))

    def digest(self, *first: np.ndarray) -> bytes:
        """SHA-256 of `first` and of every box."""
        digest = hashlib.sha256()
        for array in (*first, self.image, self.category, self.xywh, self.value, self.crowd):
            digest.update(f"{array.dtype}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.digest()


@dataclass(frozen=True)
class Parsed:
    """Ground truth and detections over the same images and categories, both ascending."""

    image_ids: np.ndarray
    category_ids: np.ndarray
    names: tuple[str, ...]
    truth: ParsedBoxes
    detections: ParsedBoxes


def from_coco(ground_truth: dict, detections: list[dict]) -> Parsed:
    """Read a COCO instances dict and a results list.

    As in pycocotools, boxes of a category that `ground_truth` does not list, and ground truth of an image that it does
    not list, take no part. Annotation ids are not read (pycocotools takes a match with id 0 for none). Raises
    ValueError on a missing or malformed value and on a detection in an unknown image.
    """
    for key in ("images", "annotations", "categories"):
        if key not in ground_truth:
            raise ValueError(
                f"ground truth has no {key!r}: it must be a COCO instances dict, it has {sorted(ground_truth)}"
            )
    image_ids = np.unique(_ids(ground_truth["images"], "id", "image"))
    category_ids = np.unique(_ids(ground_truth["categories"], "id", "category"))
    name_of = {c["id"]: str(c.get("name", c["id"])) for c in ground_truth["categories"]}

    annotations = ground_truth["annotations"]
    xywh = _boxes(annotations, "annotation")
    area = _cells(annotations, lambda a: a["area"] if "area" in a else a["bbox"][2] * a["bbox"][3], np.float64)
    crowd = _cells(annotations, lambda a: bool(a.get("iscrowd", 0)), np.bool_)
    image, inside = _indices(image_ids, _ids(annotations, "image_id", "annotation"))
    category, listed = _indices(category_ids, _ids(annotations, "category_id", "annotation"))
    truth = ParsedBoxes(image, category, xywh, area, crowd).keep(inside & listed)

    image_of = _ids(detections, "image_id", "detection")
    image, inside = _indices(image_ids, image_of)
    if not inside.all():
        row = int(np.argmin(inside))
        raise ValueError(f"detection {row} is in image {image_of[row]}, which the ground truth does not list")
    category, listed = _indices(category_ids, _ids(detections, "category_id", "detection"))
    score = _column(detections, "score", np.float64, "detection")
    boxes = ParsedBoxes(image, category, _boxes(detections, "detection"), score, np.zeros(len(score), bool))
    return _checked(
        Parsed(image_ids, category_ids, tuple(name_of[i] for i in category_ids.tolist()), truth, boxes.keep(listed))
    )


def from_dataset(dataset: Dataset, detections: Sequence[Detections]) -> Parsed:
    """Read a Dataset and the detections of each of its images. Category ids are class ids: indices into `names`."""
    if len(detections) != len(dataset):
        raise ValueError(f"{len(detections)} detections for {len(dataset)} images")
    ids = np.array([image.id for image in dataset.images], np.int64)
    image_ids, index = np.unique(ids, return_inverse=True)
    if len(image_ids) != len(ids):
        raise ValueError(f"the data set holds {len(ids)} images but only {len(image_ids)} ids: ids must be unique")
    truth_xywh = _xywh([image.xyxy for image in dataset.images])
    truth = ParsedBoxes(
        np.repeat(index, [len(image.class_ids) for image in dataset.images]).astype(np.int64),
        _joined([image.class_ids for image in dataset.images], np.int64),
        truth_xywh,
        truth_xywh[:, 2] * truth_xywh[:, 3],
        _joined([image.crowd for image in dataset.images], np.bool_),
    )
    scores = _joined([one.scores for one in detections], np.float64)
    predicted = ParsedBoxes(
        np.repeat(index, [len(one) for one in detections]).astype(np.int64),
        _joined([one.class_ids for one in detections], np.int64),
        _xywh([one.xyxy for one in detections]),
        scores,
        np.zeros(len(scores), bool),
    )
    for what, boxes in (("ground truth", truth), ("a detection", predicted)):
        if len(boxes.category) and not 0 <= boxes.category.min() <= boxes.category.max() < len(dataset.names):
            raise ValueError(
                f"{what} has class {boxes.category.max()}, but the data set has {len(dataset.names)} names"
            )
    return _checked(Parsed(image_ids, np.arange(len(dataset.names)), dataset.names, truth, predicted))


def _checked(parsed: Parsed) -> Parsed:
    for what, boxes in (("ground truth", parsed.truth), ("detection", parsed.detections)):
        finite = np.isfinite(boxes.xywh).all(1) & np.isfinite(boxes.value)
        if not finite.all():
            row = int(np.argmin(finite))
            raise ValueError(
                f"{what} in image {parsed.image_ids[boxes.image[row]]}: box {boxes.xywh[row].tolist()} with "
                f"{'area' if what == 'ground truth' else 'score'} {boxes.value[row]} is not finite"
            )
    return parsed


def _ids(rows: list[dict], key: str, what: str) -> np.ndarray:
    """A column of whole numbers. Raises ValueError where one is text, a fraction or beyond 64 bits: numpy would read
    some of these as another number."""
    column = _column(rows, key, np.int64, what)
    if not set(map(type, map(itemgetter(key), rows))) <= WHOLE:
        for number, row in enumerate(rows):
            if type(row[key]) not in WHOLE and not (isinstance(row[key], float) and row[key].is_integer()):
                raise ValueError(
                    f"{what} {number}: {key} must be a whole number, not {row[key]!r:.60}; number them anew"
                )
    return column


def _column(rows: list[dict], key: str, dtype: type, what: str) -> np.ndarray:
    try:
        return np.fromiter(map(itemgetter(key), rows), dtype, len(rows))
    except (KeyError, TypeError, ValueError, OverflowError):
        for number, row in enumerate(rows):
            value = row.get(key)
            if not isinstance(value, (int, float, np.number)):
                raise ValueError(f"{what} {number}: {key} must be a number, not {value!r:.60}") from None
            if dtype is np.int64 and not -(2**63) <= value < 2**63:
                raise ValueError(f"{what} {number}: {key} is {value!r:.60}, beyond 64 bits; number them anew") from None
        raise


def _boxes(rows: list[dict], what: str) -> np.ndarray:
    try:
        boxes = list(map(itemgetter("bbox"), rows))
        if set(map(len, boxes)) <= {4}:
            return np.fromiter(chain.from_iterable(boxes), np.float64, 4 * len(boxes)).reshape(-1, 4)
    except (KeyError, TypeError, ValueError):
        pass
    number = next(k for k, row in enumerate(rows) if not _is_box(row.get("bbox")))
    raise ValueError(f"{what} {number}: bbox must be [x, y, width, height] in pixels, not {rows[number].get('bbox')!r}")


def _is_box(value: Any) -> bool:
    try:
        return len([float(v) for v in value]) == 4
    except (TypeError, ValueError):
        return False


def _cells(rows: list[dict], read: Callable[[dict], object], dtype: type) -> np.ndarray:
    return np.fromiter(map(read, rows), dtype, len(rows))


def _indices(ids: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each value stands in the ascending `ids`, and whether it is there at all."""
    if not len(ids):
        return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    at = np.searchsorted(ids, values).clip(max=len(ids) - 1)
    return at, ids[at] == values


def _joined(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype)


def _xywh(corners: list[np.ndarray]) -> np.ndarray:
    xyxy = np.concatenate([np.zeros((0, 4)), *corners]).astype(np.float64)
    return np.concatenate([xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2]], axis=1)

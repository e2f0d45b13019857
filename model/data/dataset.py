"""Data sets of images with boxes: split stably, counted, fingerprinted; from COCO instances and back."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from model.data.checked import check_boxes

HOLDOUT = 0.2  # share of the labeled images that models are compared on, and nobody trains on


@dataclass(frozen=True, eq=False)
class LabeledImage:
    """One image and its boxes.

    Attributes:
        id: stable identifier (COCO image id, Label Studio task id).
        path: the image file.
        size: (width, height) in pixels as displayed.
        xyxy: (n, 4) float32 box corners in pixels.
        class_ids: (n,) int64 indices into `Dataset.names`.
        crowd: (n,) bool, regions that stand for many objects: they are evaluated as COCO does, never trained on.
        split: "train", "val", ... where the source says; otherwise None.
    """

    id: int
    path: Path
    size: tuple[int, int]
    xyxy: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    class_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    crowd: np.ndarray = None  # type: ignore[assignment]  # set below: its length is that of class_ids
    split: str | None = None

    def __post_init__(self) -> None:
        if self.crowd is None:
            object.__setattr__(self, "crowd", np.zeros(len(self.class_ids), bool))
        if not len(self.xyxy) == len(self.class_ids) == len(self.crowd):
            raise ValueError(f"image {self.id}: {len(self.xyxy)} boxes but {len(self.class_ids)} classes")


def in_holdout(image_id: int, fraction: float = HOLDOUT) -> bool:
    """Whether an image belongs to the holdout; depends on nothing but its id, so it never changes sides."""
    return place_of(image_id) < fraction


def place_of(image_id: int) -> float:
    """A number of 0 to 1 that stands for the id alone, evenly spread."""
    digest = hashlib.sha256(f"holdout:{image_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images with boxes, and the names of their classes.

    One image of two classes, with two boxes:

        >>> corners = np.array([[10, 20, 40, 60], [200, 80, 230, 110]], np.float32)
        >>> image = LabeledImage(7, Path("images/7.jpg"), (320, 240), corners, class_ids=np.array([1, 1]))
        >>> dataset = Dataset((image,), names=("stop", "yield"))
        >>> dataset.boxes, dataset.class_histogram()
        (2, {'stop': 0, 'yield': 2})
    """

    images: tuple[LabeledImage, ...]
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()  # a line for each kind of thing that was mended or left out when all was read

    def __len__(self) -> int:
        return len(self.images)

    def __str__(self) -> str:
        """What it holds, in one line."""
        empty = sum(not len(image.class_ids) for image in self.images)
        return f"{len(self)} images, {empty} of them without an object; {self.boxes} boxes of {len(self.names)} classes"

    @property
    def boxes(self) -> int:
        """How many boxes all images hold together; 0: nothing can be learned from them, or scored against them."""
        return sum(len(image.class_ids) for image in self.images)

    def subset(self, ids: Iterable[int]) -> Dataset:
        """The images with these ids, in the data set's own order. Raises KeyError on an id it does not hold."""
        members = set(ids)
        images = tuple(image for image in self.images if image.id in members)
        if missing := members - {image.id for image in images}:
            raise KeyError(f"images {sorted(missing)[:5]} are not in this data set of {len(self)} images")
        return Dataset(images, self.names, self.notes)

    def holdout(self, fraction: float = HOLDOUT) -> tuple[Dataset, Dataset]:
        """(train, holdout), split by a hash of each id: labeling more images never moves one across."""
        return self._split({image.id for image in self.images if in_holdout(image.id, fraction)})

    def pool_and_evaluation(self) -> tuple[Dataset, Dataset]:
        """The two sides of an active-learning experiment: images of the split "train" are the pool, all others
        evaluate; where no image names a split, a stable quarter evaluates."""
        if any(image.split for image in self.images):
            return self._split({image.id for image in self.images if image.split != "train"})
        return self.holdout(0.25)

    def _split(self, second: set[int]) -> tuple[Dataset, Dataset]:
        """(the other images, the images of `second`), both in the data set's own order."""
        return (
            Dataset(tuple(image for image in self.images if image.id not in second), self.names, self.notes),
            Dataset(tuple(image for image in self.images if image.id in second), self.names, self.notes),
        )

    def class_histogram(self) -> dict[str, int]:
        """Boxes per class name, every class listed, in the order of `names`."""
        counts = Counter(int(c) for image in self.images for c in image.class_ids)
        return {name: counts[k] for k, name in enumerate(self.names)}

    def fingerprint(self) -> str:
        """64 hex digits that change when an image, a box or a class name does; the order of images is irrelevant."""
        digest = hashlib.sha256(json.dumps(self.names).encode())
        for image in sorted(self.images, key=lambda i: i.id):
            digest.update(f"{image.id}:{image.size}:{len(image.class_ids)}:".encode())
            digest.update(np.ascontiguousarray(image.xyxy, np.float32).tobytes())
            digest.update(np.ascontiguousarray(image.class_ids, np.int64).tobytes())
            digest.update(np.ascontiguousarray(image.crowd, bool).tobytes())
        return digest.hexdigest()

    @classmethod
    def from_coco(cls, annotations: str | Path | dict, images: str | Path) -> Dataset:
        """COCO instances (a file or the dict itself) with image files below `images`, which are not looked at.

        Boxes are checked against the sizes that the instances give (model.data.checked). For files that others wrote
        see `model.data.directories`.
        """
        coco = annotations if isinstance(annotations, dict) else json.loads(Path(annotations).read_text())
        categories = sorted(coco["categories"], key=lambda c: c["id"])
        class_of = {c["id"]: k for k, c in enumerate(categories)}
        annotations_of: dict[int, list[dict]] = {}
        for annotation in coco["annotations"]:
            if annotation["category_id"] not in class_of:
                raise ValueError(
                    f"annotation {annotation.get('id')}: category_id {annotation['category_id']} is not among "
                    f"the file's categories {sorted(class_of)}"
                )
            annotations_of.setdefault(annotation["image_id"], []).append(annotation)
        labeled = []
        for image in coco["images"]:
            boxes = annotations_of.get(image["id"], [])
            size = (image["width"], image["height"])
            xywh = np.array([box["bbox"] for box in boxes], np.float64).reshape(-1, 4)
            kinds = [(class_of[box["category_id"]], bool(box.get("iscrowd", 0))) for box in boxes]
            checked = check_boxes(np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1), size, kinds)
            if checked.not_numbers:
                raise ValueError(f"image {image['id']}: bbox {boxes[checked.not_numbers[0]]['bbox']} is no box")
            labeled.append(
                LabeledImage(
                    id=image["id"],
                    path=Path(images) / image["file_name"],
                    size=size,
                    xyxy=checked.xyxy,
                    class_ids=np.array([kinds[k][0] for k in checked.kept], np.int64),
                    crowd=np.array([kinds[k][1] for k in checked.kept], bool),
                    split=image.get("split"),
                )
            )
        return cls(tuple(labeled), tuple(c["name"] for c in categories))

    def to_coco(self) -> dict:
        """COCO instances; category k + 1 is class k, annotation ids start at 1 (pycocotools treats 0 as no match)."""
        annotations: list[dict] = []
        for image in self.images:
            boxes: Any = image.xyxy.astype(np.float64).tolist()
            for (x1, y1, x2, y2), k, crowd in zip(boxes, image.class_ids, image.crowd, strict=True):
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image.id,
                        "category_id": int(k) + 1,
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "area": (x2 - x1) * (y2 - y1),
                        "iscrowd": int(crowd),
                    }
                )
        return {
            "images": [
                {"id": i.id, "file_name": i.path.name, "width": i.size[0], "height": i.size[1]}
                | ({"split": i.split} if i.split else {})
                for i in self.images
            ],
            "annotations": annotations,
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(self.names)],
        }

"""What a version found in the images that were held out, kept with it: any two versions are compared at any later time.

Which images are held out follows from their ids, so the holdout of a later training holds that of an earlier one,
but for what was annotated anew meanwhile. Two versions are compared on the images whose boxes are the same in both:

    VERSION/holdout.npz     truth, what the version found, and what the version found that served while it was trained
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from agent.match.scores import Delta
from agent.match_table import MatchTable
from model.data.dataset import Dataset, LabeledImage
from model.data.detections import Detections

FILE = "holdout.npz"
FEWEST_IMAGES, FEWEST_BOXES = 20, 50
"""of a holdout on which a model can be called better, or worse. On fewer the bootstrap knows too few pictures to tell
how far another holdout would differ: of one image every resample is the same, and its interval has no width."""
FEWEST_OF_CLASS = 10
"""images of a holdout that show a class, on which the interval of its AP is believed: classes are rarer than boxes."""
NOWHERE = Path("holdout")  # pictures are not needed any more
TRUTH = ("xyxy", "class_ids", "crowd")
FOUND = ("xyxy", "scores", "class_ids")


@dataclass(frozen=True, eq=False)
class Holdout:
    """Held-out images, with their true boxes and those that two versions found.

    Attributes:
        found: `found[i]` in `dataset.images[i]`, in the classes of `dataset.names`.
        before: the same, by the version that served.
    """

    dataset: Dataset
    found: Sequence[Detections]
    before: Sequence[Detections]

    def to_bytes(self) -> bytes:
        """For `of_bytes`: a compressed .npz."""
        images = self.dataset.images
        held: dict[str, np.ndarray] = {
            "names": np.frombuffer(json.dumps(self.dataset.names).encode(), np.uint8),
            "ids": np.array([image.id for image in images], np.int64),
            "sizes": np.array([image.size for image in images], np.int64).reshape(-1, 2),
        }
        held |= _joined("truth", images, TRUTH) | _joined("found", self.found, FOUND)
        held |= _joined("before", self.before, FOUND)
        out = io.BytesIO()
        np.savez_compressed(out, **held)  # type: ignore[arg-type]
        return out.getvalue()

    @classmethod
    def of_bytes(cls, data: bytes) -> Holdout:
        """What `to_bytes` gave. Raises what `model.damage.SIGNS` names where it did not."""
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
        sizes = [(int(width), int(height)) for width, height in held["sizes"]]
        ids = held["ids"].tolist()
        truth = _parted(held, "truth", TRUTH)
        images = [
            LabeledImage(number, NOWHERE, size, **parts) for number, size, parts in zip(ids, sizes, truth, strict=True)
        ]
        found, before = (
            [
                Detections(**parts, class_scores=np.zeros((len(parts["scores"]), 0), np.float32), size=size)
                for parts, size in zip(_parted(held, which, FOUND), sizes, strict=True)
            ]
            for which in ("found", "before")
        )
        names = tuple(map(str, json.loads(held["names"].tobytes())))
        return cls(Dataset(tuple(images), names), found, before)


@dataclass(frozen=True, eq=False)
class Compared:
    """One version against another on the same images.

    Attributes:
        ours, theirs: class -> AP, -1.0 without a box.
        delta: the first less the second, with paired intervals; its classes are indices into `names`.
        images, boxes: what stands behind it.
        shown: class -> images that show it.
        cross_fitted: whether each image was judged by doubles that never saw it (`agent.cross_fitting`).
    """

    names: tuple[str, ...]
    map: tuple[float, float]
    ours: dict[str, float]
    theirs: dict[str, float]
    delta: Delta
    images: int
    boxes: int
    shown: dict[str, int]
    cross_fitted: bool = False

    @property
    def enough(self) -> bool:
        """Whether it rests on enough to call one of them better."""
        return self.images >= FEWEST_IMAGES and self.boxes >= FEWEST_BOXES

    def enough_of(self, name: str) -> bool:
        """The same of one class."""
        return self.enough and self.shown[name] >= FEWEST_OF_CLASS


def with_parent(holdout: Holdout) -> Compared | None:
    """A version against the one that served while it was trained: what its promotion was decided by."""
    return _compare(holdout.dataset, holdout.found, holdout.before)


def with_other(ours: Holdout, theirs: Holdout) -> Compared | None:
    """Any two versions, on the images whose true boxes are the same in both; None where there are none with a box."""
    names = tuple(dict.fromkeys((*ours.dataset.names, *theirs.dataset.names)))
    first, second = _renamed(ours, names), _renamed(theirs, names)
    other = {image.id: place for place, image in enumerate(second.dataset.images)}
    pairs = [
        (place, other[image.id])
        for place, image in enumerate(first.dataset.images)
        if image.id in other and _same(image, second.dataset.images[other[image.id]])
    ]
    images = tuple(first.dataset.images[one] for one, _ in pairs)
    found = [first.found[one] for one, _ in pairs]
    return _compare(Dataset(images, names), found, [second.found[two] for _, two in pairs])


def _compare(dataset: Dataset, ours: Sequence[Detections], theirs: Sequence[Detections]) -> Compared | None:
    if not dataset.boxes:
        return None
    first, second = MatchTable.from_dataset(dataset, ours), MatchTable.from_dataset(dataset, theirs)
    one, two = first.evaluate(), second.evaluate()
    return Compared(
        names=dataset.names,
        map=(one.map, two.map),
        ours={dataset.names[k]: ap for k, ap in one.per_class.items()},
        theirs={dataset.names[k]: ap for k, ap in two.per_class.items()},
        delta=first.delta(second, rng=0),
        images=len(dataset),
        boxes=dataset.boxes,
        shown=images_of_classes(dataset),
    )


def images_of_classes(dataset: Dataset) -> dict[str, int]:
    """Class -> images that show it."""
    shown = np.zeros(len(dataset.names), np.int64)
    for image in dataset.images:
        shown[np.unique(image.class_ids)] += 1
    return dict(zip(dataset.names, shown.tolist(), strict=True))


def _renamed(holdout: Holdout, names: tuple[str, ...]) -> Holdout:
    """The same with class ids that are indices into `names`."""
    place = np.array([names.index(name) for name in holdout.dataset.names], np.int64)
    images = tuple(replace(image, class_ids=place[image.class_ids]) for image in holdout.dataset.images)
    found = [replace(boxes, class_ids=place[boxes.class_ids]) for boxes in holdout.found]
    return Holdout(Dataset(images, names), found, [])


def _same(one: LabeledImage, two: LabeledImage) -> bool:
    """Whether an image's true boxes are the same."""
    return one.size == two.size and all(np.array_equal(getattr(one, name), getattr(two, name)) for name in TRUTH)


def _joined(which: str, parts: Iterable[Any], names: Sequence[str]) -> dict[str, np.ndarray]:
    """One array a field, of all images (one or more) one after the other, and how many boxes each image has."""
    rows = list(parts)
    counts = np.array([len(row.class_ids) for row in rows], np.int64)
    arrays = {f"{which}_{name}": np.concatenate([getattr(row, name) for row in rows]) for name in names}
    return {f"{which}_counts": counts, **arrays}


def _parted(held: dict[str, np.ndarray], which: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """What `_joined` joined, an image after the other."""
    ends = np.cumsum(held[f"{which}_counts"])[:-1]
    parts = {name: np.split(held[f"{which}_{name}"], ends) for name in names}
    return [{name: parts[name][place] for name in names} for place in range(len(held[f"{which}_counts"]))]

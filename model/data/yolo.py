"""YOLO data sets: text labels for images that a data.yaml lists, or that lie in images/ beside labels/."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.data.dataset import Dataset, LabeledImage, require_images
from model.data.images import displayed_size

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}


@dataclass(frozen=True)
class YoloImage:
    """One image file, its label file (which need not exist), and the split that it belongs to."""

    image: Path
    label: Path
    split: str | None = None


def read(sources: Sequence[YoloImage], names: Sequence[str], pose: int = 0) -> Dataset:
    """These images, ids 1, 2, ... in the order given; without a label file an image has no objects.

    A line is `class cx cy w h` in fractions of the image, perhaps with a confidence; or a polygon `class x y x y ...`,
    whose box counts. Of a line of `pose` numbers the first five are read, the others are keypoints.
    """
    images = []
    for number, source in enumerate(sources, start=1):
        width, height = displayed_size(source.image)
        table = _rows(source.label, len(names), pose) if source.label.exists() else np.zeros((0, 5))
        centre, half = table[:, 1:3], table[:, 3:5] / 2
        xyxy = np.concatenate([centre - half, centre + half], axis=1) * [width, height, width, height]
        classes = table[:, 0].astype(np.int64)
        images.append(
            LabeledImage(number, source.image, (width, height), xyxy.astype(np.float32), classes, split=source.split)
        )
    return Dataset(tuple(images), tuple(names))


def images_below(directory: Path) -> list[Path]:
    """Every image file in a directory and those in it, sorted."""
    return sorted(p for p in directory.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)


def sources_below(images: Path, labels: Path) -> list[YoloImage]:
    """Every image file below `images`, with the label file of the same name and place below `labels`."""
    return [YoloImage(p, labels / p.relative_to(images).with_suffix(".txt")) for p in images_below(images)]


def shipped(name: str) -> Path | None:
    """The data set that ultralytics ships under a name ("coco8" or "coco8.yaml")."""
    package = importlib.util.find_spec("ultralytics")
    directory = Path(str(package.origin)).parent / "cfg" / "datasets" if package else Path()
    return next((p for p in directory.glob("*.yaml") if name in (p.name, p.stem)), None)


def read_directory(root: Path) -> Dataset:
    """`images/`, `labels/`, and `classes.txt` with a class name a line.

    Directories in images/ are splits where one's name starts with "train" and another's does not: then all images in
    the former are "train", all others "val".
    """
    names = [line.strip() for line in (root / "classes.txt").read_text().splitlines() if line.strip()]
    sources = sources_below(root / "images", root / "labels")
    _require_labels(sources, root)
    places = [source.image.relative_to(root / "images").parts for source in sources]
    train = [len(place) > 1 and place[0].startswith("train") for place in places]
    if any(train) and not all(train):
        sources = [replace(s, split="train" if side else "val") for s, side in zip(sources, train, strict=True)]
    return read(sources, names)


def read_yaml(file: Path) -> Dataset:
    """What an ultralytics data set file describes: `train` is the split "train", `val` and `test` are "val".

    Ids are 1, 2, ... in the order of the image paths over all splits. Where `train` and `val` are the same images, as
    in some of ultralytics' samples, or one of them is empty, there is no split. A `test` without labels, or without
    images, is a challenge's and is left out.

    Ultralytics resolves the paths, and downloads what is missing into the `datasets_dir` of its settings. A download
    written as code runs only from the files that ultralytics ships; elsewhere only archives' addresses are followed.

    Raises:
        ValueError: the file, its images or its labels are not as expected, or the download failed.
    """
    data = _resolve(file)
    train, val, test = (_label_files(data, key, file) for key in ("train", "val", "test"))
    if any(label.exists() for label in test.values()):
        val |= test
    has_sides = bool(train) and bool(val) and train != val
    if has_sides and (both := sorted(train.keys() & val.keys())):
        raise ValueError(
            f"{file}: {len(both)} images are in `train` and in `val` or `test` too, the first is {both[0]}; "
            "list each on one side only"
        )
    labels = train | val
    sources = [
        YoloImage(image, labels[image], ("train" if image in train else "val") if has_sides else None)
        for image in sorted(labels)
    ]
    require_images([source.image for source in sources], file)
    _require_labels(sources, file)
    keypoints, numbers = data.get("kpt_shape") or (0, 0)
    return read(sources, [data["names"][k] for k in sorted(data["names"])], 5 + keypoints * numbers)


def _resolve(file: Path) -> dict[str, Any]:
    """The data set file with absolute paths, after a download where one is needed."""
    import model.environment  # noqa: F401

    # isort: split
    from ultralytics.data.utils import check_det_dataset
    from ultralytics.utils import YAML

    try:
        download = str(YAML.load(file).get("download") or "")
        safe = file == shipped(file.name) or download.startswith(("http://", "https://"))
        with contextlib.redirect_stdout(sys.stderr):
            return check_det_dataset(file, autodownload=safe)
    except Exception as error:  # ultralytics raises what its checks, its HTTP stack and the download scripts raise
        message = " ".join(str(error).replace("❌", "").split()).rstrip(".") or type(error).__name__
        remedy = "check the network" if safe and download else "correct the paths in it"
        if download and not safe:
            remedy += ", or run its `download`, which is code, yourself"
        raise ValueError(f"{file}: ultralytics cannot open this data set: {message}; {remedy}") from error


def _label_files(data: dict[str, Any], key: str, file: Path) -> dict[Path, Path]:
    """Label files by image: `key` names directories of images, or text files that list images, beside themselves
    where not absolute."""
    from ultralytics.data.utils import img2label_paths

    entries = data.get(key) or []
    images: list[Path] = []
    for entry in map(Path, entries if isinstance(entries, list) else [entries]):
        if entry.is_dir():
            images += images_below(entry)
        elif entry.is_file():
            lines = entry.read_text(encoding="utf-8-sig").splitlines()
            images += [entry.parent / line.strip() for line in lines if line.strip()]
        elif key != "test":
            raise ValueError(f"{file}: `{key}` is {entry}, which does not exist; correct the paths in it")
    labels = img2label_paths(list(map(str, images)))
    return {image: Path(label) for image, label in zip(images, labels, strict=True)}


def _require_labels(sources: Sequence[YoloImage], source: Path) -> None:
    """Raises ValueError where no image has a label file: then the labels lie elsewhere."""
    if not sources:
        raise ValueError(f"{source}: no images of the types {', '.join(sorted(IMAGE_SUFFIXES))}; check its paths")
    if not any(each.label.exists() for each in sources):
        raise ValueError(
            f"{source}: none of {len(sources)} images has a label file; looked for {sources[0].label} and the like, "
            "put the labels there"
        )


def _rows(label: Path, classes: int, pose: int) -> np.ndarray:
    """(n, 5) float64 rows of `class cx cy w h`."""
    rows = []
    for number, line in enumerate(label.read_text(encoding="utf-8-sig").splitlines(), start=1):
        try:
            row = [float(value) for value in line.split()]
        except ValueError:
            raise ValueError(f"{label}, line {number}: {line!r} holds something that is no number") from None
        polygon = len(row) >= 7 and len(row) % 2 == 1 and len(row) != pose
        if len(row) not in (0, 5, 6, pose) and not polygon:
            raise ValueError(f"{label}, line {number}: {len(row)} numbers where `class cx cy w h` was expected")
        if row and (row[0] not in range(classes)):
            raise ValueError(f"{label}, line {number}: class {row[0]:g}, but only {classes} names were given")
        if polygon:
            corners = np.array(row[1:]).reshape(-1, 2)
            low, high = corners.min(axis=0), corners.max(axis=0)
            row = [row[0], *(low + high) / 2, *(high - low)]
        if row:
            rows.append(row[:5])
    return np.array(rows, np.float64).reshape(-1, 5)

"""COCO instances on disk: one file, or the files of several splits, checked and read as one data set."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.data.dataset import Dataset, require_images

NEEDED = {
    "images": {"id", "file_name", "width", "height"},
    "annotations": {"image_id", "category_id", "bbox"},
    "categories": {"id", "name"},
}


def read_single(root: Path) -> Dataset:
    """`annotations.json` beside `images/`; an image's `split`, where given, counts."""
    return _read([_Part(root / "annotations.json", root / "images", None)])


def read_published(root: Path, files: list[Path]) -> Dataset:
    """The files `instances_<split>.json` of `annotations/`, with the images in `<split>/` or `images/<split>/`."""
    return _read(_published(root, files))


@dataclass(frozen=True)
class _Part:
    """A COCO file, the directory of its images, and the split of them all where the file does not say."""

    file: Path
    images: Path
    split: str | None


def _published(root: Path, files: list[Path]) -> list[_Part]:
    """The COCO files whose images are there: at least one of either side's, so that no side is lost unnoticed."""
    parts = []
    for file in files:
        name = file.stem.removeprefix("instances_")
        places = [root / name, root / "images" / name]
        images = next((place for place in places if place.is_dir()), places[0])
        parts.append(_Part(file, images, "train" if name.startswith("train") else "val"))
    complete = [part for part in parts if part.images.is_dir()]
    sides = {part.split for part in complete}
    for part in parts:
        if part.split not in sides:
            raise ValueError(
                f"{root}: {part.file.name} is there, but not its images; looked for {part.images.name}/ and "
                f"images/{part.images.name}/, unpack them there, or remove the file"
            )
    return complete if len(sides) == 2 else [replace(part, split=None) for part in complete]


def _read(parts: list[_Part]) -> Dataset:
    """COCO files as one data set, in their order."""
    whole: dict[str, list] = {"images": [], "annotations": [], "categories": []}
    for part in parts:
        coco = _load(part.file)
        if whole["categories"] and _names(whole) != _names(coco):
            raise ValueError(
                f"{part.file}: other categories than {parts[0].file.name}; give both the same ids and names"
            )
        whole["categories"] = coco["categories"]
        whole["annotations"] += coco["annotations"]
        whole["images"] += [
            image | {"file_name": str(part.images / image["file_name"])} | ({"split": part.split} if part.split else {})
            for image in coco["images"]
        ]
    source = " and ".join(str(part.file) for part in parts)
    times = Counter(image["id"] for image in whole["images"])
    if repeats := [key for key, count in times.items() if count > 1]:
        raise ValueError(
            f"{source}: {len(repeats)} image ids occur twice, the first is {repeats[0]}; number the images anew"
        )
    if strays := [a for a in whole["annotations"] if a["image_id"] not in times]:
        raise ValueError(
            f"{source}: {len(strays)} annotations are of images that are not listed, the first is annotation "
            f"{strays[0].get('id')} of image {strays[0]['image_id']}; list the images, or remove the annotations"
        )
    try:
        dataset = Dataset.from_coco(whole, "")
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    require_images([image.path for image in dataset.images], source)
    return dataset


def _load(file: Path) -> dict[str, Any]:
    """A COCO file that has all that is read of it."""
    try:
        coco = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: not readable as JSON ({error}); get or export it again") from None
    for table, keys in NEEDED.items():
        if not isinstance(coco, dict) or table not in coco:
            raise ValueError(f"{file}: no {table!r}; give a file of COCO instances")
        if missing := next((keys - entry.keys() for entry in coco[table] if not keys <= entry.keys()), None):
            raise ValueError(f"{file}: an entry of {table!r} without {min(missing)!r}; give a file of COCO instances")
    return coco


def _names(coco: dict[str, list]) -> dict[int, str]:
    return {category["id"]: category["name"] for category in coco["categories"]}

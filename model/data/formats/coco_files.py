"""Which COCO files a directory holds, in the layouts of COCO, Label Studio, CVAT, Roboflow and FiftyOne."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from model.data.formats import coco
from model.data.formats.coco import Part
from model.data.formats.splits import is_side, side
from model.data.formats.walk import child, folders

PLACES = ("images", "data")  # folders of pictures: CVAT's and Label Studio's, FiftyOne's
KNOWN = ("result.json", "labels.json", "_annotations.coco.json")  # what cannot be read of these is said


def find(root: Path) -> list[Part]:
    """The COCO files below a directory, first found first: none where there are none.

    1. `annotations.json`: the product's own.
    2. `annotations/instances_<split>.json` (COCO, CVAT).
    3. A file of COCO instances in the directory or in `annotations/`, with any name: `result.json` (Label Studio),
       `labels.json` (FiftyOne), `_annotations.coco.json` (Roboflow).
    4. One in each of `train/`, `valid/`, `test/` (Roboflow, FiftyOne).
    """
    if (file := root / "annotations.json").is_file():
        return [beside(file)]
    below = child(root, "annotations")
    if below and (files := sorted(below.glob("instances_*.json"))):
        return _published(root, files)
    for directory in filter(None, (root, below)):
        if files := _instances_in(directory):
            return [_of_split(file, root) for file in files] if len(files) > 1 else [beside(files[0])]
    sides = [folder for folder in folders(root) if is_side(folder.name)]
    parts = [replace(beside(file), split=folder.name) for folder in sides for file in _instances_in(folder)]
    return sorted(parts, key=lambda part: ("train", "val", "test").index(side(part.split) or "train"))


def beside(file: Path, word: str | None = None) -> Part:
    """A COCO file given by itself: its pictures are beside it, below it, or beside the folder that it is in.

    A file whose name is that of a split has its pictures in a folder of that name first, or of `word`.
    """
    word = word or _word(file)
    bases = (file.parent, file.parent.parent) if file.parent.name.lower() == "annotations" else (file.parent,)
    places = [base / below / word for base in bases for below in (".", *PLACES)]
    places = [place for place in places if place.is_dir()]
    places += [base / below for below in PLACES for base in bases if (base / below).is_dir()]
    return Part(file, (*places, *bases))


def _instances_in(directory: Path) -> list[Path]:
    """The files of COCO instances in a directory, told by their content."""
    files = [file for file in sorted(directory.glob("*.json")) if not file.name.startswith(".")]
    found = []
    for file in files:
        try:
            content = coco.load(file)
        except ValueError:
            if file.name in KNOWN:
                raise
            continue
        if coco.is_instances(content):
            found.append(file)
    return found


def _of_split(file: Path, root: Path) -> Part:
    """One of several COCO files, whose name says which split it is."""
    word = _word(file)
    word = word if is_side(word) else word.rpartition("_")[2]  # "person_keypoints_train"
    if not is_side(word):
        raise ValueError(
            f"{root}: several COCO files, and {file.name} is not named after a split; call them train.json, val.json "
            "and test.json, or give the one that is meant"
        )
    return replace(beside(file, word), split=word)


def _published(root: Path, files: list[Path]) -> list[Part]:
    """`instances_<split>.json` files whose images are there: at least one of either side's, so that no side is lost
    unnoticed. With one file, or where all lie in one folder, that is enough."""
    if len(files) == 1:
        return [beside(files[0])]
    for file in files:
        word = file.stem.removeprefix("instances_")
        try:
            side(word)
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    common = not any((root / below / _word(file)).is_dir() for file in files for below in (".", *PLACES))
    if common and any(child(root, name) for name in PLACES):
        return [replace(beside(file), split=_word(file)) for file in files]
    complete = [f for f in files if any((root / below / _word(f)).is_dir() for below in (".", *PLACES))]
    sides = {side(_word(file)) == "train" for file in complete}
    for file in files:
        if (side(_word(file)) == "train") not in sides:
            name = _word(file)
            raise ValueError(
                f"{root}: {file.name} is there, but not its images; looked for {name}/ and images/{name}/, unpack "
                "them there, or remove the file"
            )
    return [replace(beside(file), split=_word(file)) for file in complete]


def _word(file: Path) -> str:
    return file.stem.removeprefix("instances_")

"""YOLO text labels: a picture's lines, found beside the picture or below labels/, with the names in classes.txt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model.data.dataset import Dataset
from model.data.formats.assembled import Item, assemble
from model.data.formats.splits import is_side
from model.data.formats.text import read_names, read_text
from model.data.formats.walk import PICTURES, alike, child, files_below, pictures_below, shown

NAMES = ("classes.txt", "obj.names")  # Label Studio and labelImg; CVAT
FOLDERS = {"images", "labels", "data"}  # that say nothing about the split
FURTHEST = 2.0  # a fraction beyond it is a number of pixels


@dataclass(frozen=True)
class YoloImage:
    """One picture, its label file (None: none), and the word for the split that it belongs to."""

    image: Path
    label: Path | None
    split: str | None = None


def read(
    sources: Sequence[YoloImage],
    names: Sequence[str],
    source: Path | str,
    pose: int = 0,
    strays: Sequence[str] = (),
    *,
    missing_is_empty: bool = False,
) -> Dataset:
    """These images, ids 1, 2, ... in the order given.

    An image without a label file is left out: nobody said that nothing is in it. An empty label file says so, which
    Label Studio and labelImg write. `missing_is_empty`: a missing one says so too, as ultralytics documents for images
    that a data.yaml lists; unless most have none, for then they wait to be labeled, or there are `strays`, which may be
    theirs.

    A line is `class cx cy w h` in fractions of the image, perhaps with a confidence; or a polygon `class x y x y ...`,
    whose box counts. Of a line of `pose` numbers the first five are read, the others are keypoints.

    Args:
        strays: what is to be said of label files that belong to no picture.

    Raises:
        ValueError: there is no image, no image has a label file, or too few can be used (model.data.formats.assembled).
    """
    require_labels(sources, source)
    without, notes = [each for each in sources if each.label is None], list(strays)
    if without:
        empty = missing_is_empty and len(without) <= len(sources) / 2 and not strays
        meant = "count as images without objects" if empty else "are left out; an empty label file says: no objects"
        said = f"{len(without)} of {len(sources)} images have no label file and {meant}"
        notes.append(f"{shown(source)}: {said}; the first is {shown(without[0].image)}")
        sources = sources if empty else [each for each in sources if each.label is not None]
    return assemble([_item(each, names, pose) for each in sources], names, source, notes)


def names_file(root: Path) -> Path | None:
    """The file of class names in a directory."""
    return child(root, *NAMES)


def read_directory(root: Path, names: Path) -> Dataset:
    """Pictures with label files beside them or in labels/, and a file with a class name a line: Label Studio's
    images/ and labels/, labelImg's one folder, CVAT's obj_train_data/.

    Folders of pictures are splits where one's name says "train" or the like.
    """
    finder = LabelFinder()
    pictures = pictures_below(root)
    words = [_folder(picture.relative_to(root)) for picture in pictures]
    named = any(is_side(word) for word in words)
    sources = [
        YoloImage(picture, finder.find(picture), word if named else None)
        for picture, word in zip(pictures, words, strict=True)
    ]
    if named and "" in words:
        raise ValueError(
            f"{shown(root)}: {words.count('')} images lie beside the folders of the splits, the first is "
            f"{shown(pictures[words.index('')])}; put each into train/, val/ or test/"
        )
    labeled = [child(root, "labels") or root]
    return read(sources, read_names(names), root, strays=finder.strays(labeled, root))


class LabelFinder:
    """Which label file belongs to a picture: `x.txt` or `x.jpg.txt`, in any case."""

    def __init__(self) -> None:
        self._places: dict[Path, list[Path]] = {}  # where the labels of a folder of pictures may be
        self._listed: dict[Path, dict[str, Path]] = {}
        self._found: set[Path] = set()

    def find(self, picture: Path) -> Path | None:
        """The label file below the folder `labels` that stands for the last folder `images` of the path, or beside the
        picture; None where there is none."""
        beside = picture.parent
        if beside not in self._places:
            self._places[beside] = list(dict.fromkeys([_labels_for(beside), beside]))
        for directory in self._places[beside]:
            if directory not in self._listed:
                files = (
                    sorted(directory.iterdir(), key=lambda file: file.name, reverse=True) if directory.is_dir() else []
                )
                labels = [file for file in files if file.suffix.lower() == ".txt"]
                self._listed[directory] = {alike(p.name): p for p in labels} | {p.name: p for p in labels}
            for name in (f"{picture.stem}.txt", f"{picture.name}.txt"):
                listed = self._listed[directory]
                if (label := listed.get(name) or listed.get(alike(name))) and name.lower() not in NAMES:
                    self._found.add(label)
                    return label
        return None

    def strays(self, directories: Sequence[Path], source: Path | str) -> list[str]:
        """A line about the label files in these directories that belong to no picture; none where there are none."""
        files = [file for directory in directories for file in files_below(directory, frozenset({".txt"}))]
        strays = [file for file in files if file not in self._found and _is_label(file)]
        if not strays:
            return []
        return [f"{shown(source)}: {len(strays)} label files belong to no picture, the first is {shown(strays[0])}"]


def require_labels(sources: Sequence[YoloImage], source: Path | str) -> None:
    """Raises ValueError where there is no image, or none has a label file: then the labels lie elsewhere."""
    if not sources:
        raise ValueError(
            f"{shown(source)}: no images of the types {', '.join(sorted(PICTURES))}; check its paths, and that the "
            "images were exported too"
        )
    if not any(each.label for each in sources):
        first = sources[0].image
        expected = _labels_for(first.parent) / f"{first.stem}.txt"
        raise ValueError(
            f"{shown(source)}: none of {len(sources)} images has a label file; looked for {shown(expected)} and the "
            "like, put the labels there"
        )


def _labels_for(directory: Path) -> Path:
    parts = list(directory.parts)
    for k in range(len(parts) - 1, -1, -1):
        if parts[k].lower() == "images":
            parent = Path(*parts[:k])
            return Path(child(parent, "labels") or parent / "labels", *parts[k + 1 :])
    return directory


def _folder(place: Path) -> str:
    """The first folder of a picture's place that may say its split."""
    words = [part for part in place.parts[:-1] if part.lower() not in FOLDERS]
    return words[0] if words else ""


def _is_label(file: Path) -> bool:
    """Whether a text file begins like a label: five numbers or more. Lists and notes do not."""
    try:
        first = next((line for line in read_text(file).splitlines() if line.strip()), "").split()
        return len(first) >= 5 and all(math.isfinite(float(word)) for word in first)
    except ValueError:
        return False


def _item(source: YoloImage, names: Sequence[str], pose: int) -> Item:
    try:
        rows = _rows(source.label, len(names), pose) if source.label else []
    except ValueError as error:
        return Item(source.image, split=source.split, problem=str(error))
    corners = [(cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2) for _, cx, cy, w, h in rows]
    return Item(source.image, corners, [names[int(row[0])] for row in rows], fractions=True, split=source.split)


def _rows(label: Path, classes: int, pose: int) -> list[list[float]]:
    """Rows of `class cx cy w h`. Raises ValueError, naming file and line, where a line is none."""
    rows = []
    for number, line in enumerate(read_text(label).splitlines(), start=1):
        at = f"{label}, line {number}"
        try:
            row = [float(value) for value in line.split()]
        except ValueError:
            raise ValueError(f"{at}: {line!r:.60} holds something that is no number") from None
        polygon = len(row) >= 7 and len(row) % 2 == 1 and len(row) != pose
        if len(row) not in (0, 5, 6, pose) and not polygon:
            raise ValueError(f"{at}: {len(row)} numbers where `class cx cy w h` was expected")
        if not row:
            continue
        if row[0] not in range(classes):
            raise ValueError(f"{at}: class {row[0]:g}, but only {classes} names were given")
        if far := [
            value for value in row[1 : None if polygon else 5] if math.isfinite(value) and abs(value) > FURTHEST
        ]:
            raise ValueError(f"{at}: {far[0]:g} is no fraction of the image, as in pixels; divide by width and height")
        if polygon:
            x, y = row[1::2], row[2::2]
            row = [row[0], (min(x) + max(x)) / 2, (min(y) + max(y)) / 2, max(x) - min(x), max(y) - min(y)]
        rows.append(row[:5])
    return rows

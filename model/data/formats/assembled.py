"""What a format's reader found becomes a data set: each picture measured, each box checked, the rest counted and said.

A picture is learned as background only where its file says that nothing is in it. What could not be used leaves its
picture out, and is named; where too little can be used, the file is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from model.data.checked import CLIPPED, EMPTY, ORDERED, TWICE, check_boxes
from model.data.dataset import Dataset, LabeledImage
from model.data.formats.splits import side
from model.data.formats.turned import STORED, frame_of, upright
from model.data.formats.walk import is_file, shown
from model.data.images import displayed_size, lying

USABLE = 0.8  # the share of pictures that must be usable; below it the file is refused
FEW = 10  # boxes that prove nothing about a file
LARGE = 10  # pixels of a side; in a smaller picture a box may be one pixel in the corner
SLOW = 2000  # pictures that take longer than two seconds to measure


@dataclass(frozen=True)
class Item:
    """One picture as a reader found it, nothing trusted yet.

    Attributes:
        path: the picture's file.
        corners: x1, y1, x2, y2 of each object, in pixels of `declared` (of the file where None), or in `fractions`.
        labels: the class name of each object.
        crowd: whether each object is a crowd region; empty: none is.
        declared: (width, height) that the source gives.
        frame: of a picture that is displayed turned, and declared as it is stored: in which of the two the corners are
            (formats.turned); None where the source does not say.
        fractions: the corners are fractions of width and height.
        split: the word by which the source calls the picture's side.
        id: the source's own number; where one has none, all are numbered in their order.
        problem: why the reader could not use it, naming file and entry.
    """

    path: Path
    corners: Sequence[Sequence[float]] = ()
    labels: Sequence[str] = ()
    crowd: Sequence[bool] = ()
    declared: tuple[int, int] | None = None
    frame: str | None = None
    fractions: bool = False
    split: str | None = None
    id: int | None = None
    problem: str | None = None


def assemble(
    items: Sequence[Item], names: Sequence[str] | None, source: Path | str, notes: Sequence[str] = ()
) -> Dataset:
    """The usable items as a data set; `Dataset.notes` says what was mended, dropped and left out.

    Args:
        items: in the order of the data set.
        names: the class names; None: those that occur, sorted.
        source: what was read, for messages.
        notes: what the reader itself has to say.

    Raises:
        ValueError: no picture, fewer than USABLE of them can be used, or are listed once; most boxes lie beyond their
            pictures, all are crowds, or a split's name is not known.
    """
    if not items:
        raise ValueError(f"{shown(source)}: lists no images")
    items, twice = _listed_once(items, source)
    findings = _Findings(source)
    found: dict[int, _Usable] = {}
    progress = track(
        enumerate(items, start=1), "Measuring pictures", len(items), transient=True, disable=len(items) < SLOW,
        console=Console(stderr=True),
    )  # fmt: skip
    for number, item in progress:
        if usable := _usable(item, number, findings):
            found[number] = usable
    found |= _turned(findings)
    usables = [found[number] for number in sorted(found)]
    findings.refuse(len(items))
    words = {item.split for item in items}
    try:
        side_of = {word: side(word) for word in words}
    except ValueError as error:
        raise ValueError(f"{shown(source)}: {error}") from None
    trains = {side_of[usable.item.split] == "train" for usable in usables}
    if len(trains) < 2:
        side_of = dict.fromkeys(words)  # one side alone leaves the other one empty
    known = list(names) if names is not None else sorted({label for usable in usables for label in usable.labels})
    class_of = {name: k for k, name in enumerate(known)}
    numbered = all(item.id is not None for item in items)
    images = tuple(
        LabeledImage(
            id=usable.item.id if numbered and usable.item.id is not None else k,
            path=usable.item.path,
            size=usable.size,
            xyxy=usable.xyxy,
            class_ids=np.array([class_of[label] for label in usable.labels], np.int64),
            crowd=np.array(usable.crowd, bool),
            split=side_of[usable.item.split],
        )
        for k, usable in enumerate(usables, start=1)
    )
    return Dataset(images, tuple(known), notes=(*notes, *twice, *findings.notes(len(items))))


@dataclass(frozen=True, eq=False)
class _Usable:
    """A picture that can be used: its size as displayed, and the boxes that are left with their labels."""

    item: Item
    size: tuple[int, int]
    xyxy: np.ndarray
    labels: list[str]
    crowd: list[bool]


def _usable(item: Item, number: int, findings: _Findings) -> _Usable | None:
    """What can be used of a picture; None where it is left out, or waits for what the others tell."""
    if not is_file(item.path):
        findings.missing(item.path)
        return None
    if item.problem:
        findings.left_out(item.path, item.problem)
        return None
    try:
        size = displayed_size(item.path)
    except ValueError as error:
        findings.left_out(item.path, str(error))
        return None
    declared, given = item.declared or size, item.corners
    if not _same_shape(declared, size) and _same_shape(declared, size[::-1]) and (turn := lying(item.path)):
        if len(given) and item.frame is None:
            findings.undecided.append((number, item))
            return None
        given = upright(given, declared, turn) if item.frame == STORED else given
        declared = (declared[1], declared[0])
        findings.turned += bool(len(given))
    if not _same_shape(declared, size):
        said = f"declared as {declared[0]} x {declared[1]} pixels, but the file has {size[0]} x {size[1]}"
        findings.left_out(item.path, said)
        return None
    if not item.fractions and (problem := _in_fractions(item, declared)):
        findings.left_out(item.path, problem)
        return None
    findings.scaled += declared != size
    width, height = size if item.fractions else (size[0] / declared[0], size[1] / declared[1])
    corners = np.asarray(given, np.float64).reshape(-1, 4) * (width, height, width, height)
    crowd = list(item.crowd) or [False] * len(item.labels)
    checked = check_boxes(corners, size, list(zip(item.labels, crowd, strict=True)))
    if checked.not_numbers:
        box = [float(value) for value in item.corners[checked.not_numbers[0]]]
        findings.left_out(item.path, f"a {item.labels[checked.not_numbers[0]]!r} has the corners {box}")
        return None
    findings.boxes += len(item.corners)
    findings.misplaced += checked.misplaced
    findings.count(checked.counts, item.path)
    if len(item.corners) and not len(checked.kept):
        findings.left_out(item.path, "none of its boxes has an area in the picture")
        return None
    kept = checked.kept.tolist()
    usable = _Usable(item, size, checked.xyxy, [item.labels[k] for k in kept], [crowd[k] for k in kept])
    findings.crowds += sum(usable.crowd)
    if kept and all(usable.crowd):
        findings.crowded.append(item.path)
    findings.kept += len(kept)
    return usable


def _in_fractions(item: Item, size: tuple[int, int]) -> str | None:
    """What is wrong where a box lies within the first pixel of a picture that has more: no object is so small."""
    if min(size) < LARGE:
        return None
    for label, corners in zip(item.labels, item.corners, strict=True):
        if any(corners) and all(abs(value) <= 1 for value in corners):
            box = [float(value) for value in corners]
            said = "a fraction of the picture where pixels are due, multiply by width and height"
            return f"a {label!r} has the corners {box}: {said}"
    return None


def _turned(findings: _Findings) -> dict[int, _Usable]:
    """By number, the pictures that waited for what all of them tell together of where their boxes are."""
    waiting = findings.undecided
    frame = frame_of([(item.corners, item.declared) for _, item in waiting if item.declared])
    found = {}
    for number, item in waiting:
        if frame is None:
            width, height = item.declared or (0, 0)
            said = f"declared as {width} x {height} pixels, its size before EXIF turns it: its boxes may lie either way"
            findings.left_out(item.path, said)
        elif usable := _usable(replace(item, frame=frame), number, findings):
            found[number] = usable
    return found


def _same_shape(declared: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether one size is the other made larger or smaller, but for a pixel of rounding."""
    scale = size[0] / declared[0]
    return abs(declared[1] * scale - size[1]) <= max(1.0, scale)


def _listed_once(items: Sequence[Item], source: Path | str) -> tuple[Sequence[Item], list[str]]:
    """The items of pictures that are listed once, and a line about the others: nobody knows which boxes are right.

    Raises ValueError where these are too many.
    """
    times = Counter(item.path for item in items)
    repeats = [path for path, count in times.items() if count > 1]
    if not repeats:
        return items, []
    said = f"{shown(source)}: {len(repeats)} images are listed twice, the first is {shown(repeats[0])}"
    once = [item for item in items if times[item.path] == 1]
    if len(once) < len(items) * USABLE - 1e-9:
        raise ValueError(f"{said}; list each once, with the boxes of one annotator")
    return once, [f"{said}; left out"]


@dataclass
class _Findings:
    """What was wrong, counted, with the first picture of each kind."""

    source: Path | str
    missing_paths: list[Path] = field(default_factory=list)
    problems: list[tuple[Path, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, Path] = field(default_factory=dict)
    undecided: list[tuple[int, Item]] = field(default_factory=list)
    turned: int = 0
    scaled: int = 0
    boxes: int = 0
    misplaced: int = 0
    crowds: int = 0
    crowded: list[Path] = field(default_factory=list)
    kept: int = 0

    def missing(self, path: Path) -> None:
        self.missing_paths.append(path)

    def left_out(self, path: Path, why: str) -> None:
        self.problems.append((path, why))

    def count(self, counts: Counter[str], path: Path) -> None:
        self.counts += counts
        for word in counts:
            self.first.setdefault(word, path)

    def refuse(self, total: int) -> None:
        """Raises ValueError where too little is left, or what is left is wrong throughout."""
        at = shown(self.source)
        unusable = len(self.missing_paths) + len(self.problems)
        if unusable > total * (1 - USABLE) + 1e-9:
            if len(self.missing_paths) >= len(self.problems):
                raise ValueError(f"{at}: {self._missing(total)}; put them there, or remove them from the annotations")
            raise ValueError(
                f"{at}: {unusable} of {total} images cannot be used, the first is {self._named()}; correct them, "
                f"{USABLE:.0%} must be usable"
            )
        if self.boxes >= FEW and self.misplaced > self.boxes / 2:
            raise ValueError(
                f"{at}: {self.misplaced} of {self.boxes} boxes lie beyond their pictures; give the pictures that were "
                "labeled, in their size, or export again"
            )
        if self.kept and self.crowds == self.kept:
            raise ValueError(
                f"{at}: every one of the {self.kept} boxes is a crowd (iscrowd 1), and crowds are never learned from; "
                "set iscrowd to 0, or export rectangles or polygons instead of masks"
            )

    def notes(self, total: int) -> list[str]:
        """A line for each kind of thing that was mended, dropped or left out."""
        at = shown(self.source)
        notes = []
        if self.missing_paths:
            notes.append(f"{at}: {self._missing(total)}; left out")
        if self.problems:
            notes.append(f"{at}: {len(self.problems)} of {total} images are left out, the first is {self._named()}")
        if self.turned:
            notes.append(
                f"{at}: {self.turned} of {total} images are declared in the size before EXIF turns them; their boxes "
                "were put onto the picture as it is displayed"
            )
        if self.scaled:
            notes.append(f"{at}: {self.scaled} of {total} images have another size than declared; boxes were scaled")
        if self.crowded:
            said = f"{len(self.crowded)} of {total} images hold nothing but crowds and are not learned from"
            notes.append(f"{at}: {said}, the first is {shown(self.crowded[0])}")
        notes += [
            f"{at}: {self.counts[word]} of {self.boxes} boxes {word}, the first in {shown(self.first[word])}"
            for word in (ORDERED, CLIPPED, EMPTY, TWICE)
            if self.counts[word]
        ]
        return notes

    def _missing(self, total: int) -> str:
        return f"{len(self.missing_paths)} of {total} images are missing, the first is {shown(self.missing_paths[0])}"

    def _named(self) -> str:
        path, why = self.problems[0]
        return shown(why if str(path) in why else f"{path}: {why}")

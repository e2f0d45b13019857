"""Pascal VOC: one XML a picture, and the years' lists that say which pictures train and which test."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.data.dataset import Dataset, LabeledImage, require_images
from model.data.images import displayed_size


@dataclass(frozen=True)
class VocImage:
    """One XML file, the directory of its picture, and the split that the picture belongs to."""

    xml: Path
    images: Path
    split: str | None = None


def read(sources: Iterable[VocImage]) -> Dataset:
    """The pictures of these files; ids are 1, 2, ... in the order given, classes are sorted by name.

    Objects marked `difficult` are left out. VOC's own evaluation lets a detection of one count neither for nor against;
    COCO's crowd regions would be the nearest thing, but swallow any number of detections and measure overlap by another
    formula, so that the figures would be neither VOC's nor COCO's.
    """
    images, classes = [], []
    for number, source in enumerate(sources, start=1):
        try:
            root = ElementTree.parse(source.xml).getroot()
        except ElementTree.ParseError as error:
            raise ValueError(f"{source.xml}: not readable as XML ({error})") from None
        objects = [o for o in root.iter("object") if o.findtext("difficult", "0").strip() != "1"]
        path = source.images / root.findtext("filename", source.xml.with_suffix(".jpg").name).strip()
        sides = ("xmin", "ymin", "xmax", "ymax")
        corners = [[float(o.findtext(f"bndbox/{side}", "nan")) for side in sides] for o in objects]
        xyxy = np.array(corners, np.float32).reshape(-1, 4)
        if np.isnan(xyxy).any():
            raise ValueError(f"{source.xml}: an object without xmin, ymin, xmax, ymax")
        size = (int(root.findtext("size/width", "0")), int(root.findtext("size/height", "0")))
        if not all(size):
            size = displayed_size(path)  # some tools leave the size out or write 0
        xyxy -= np.array([1, 1, 0, 0], np.float32)  # VOC counts pixels from 1 and includes the last one
        images.append((number, path, size, xyxy, source.split))
        classes.append([o.findtext("name", "").strip() for o in objects])
    class_of = {name: k for k, name in enumerate(sorted({name for names in classes for name in names}))}
    return Dataset(
        tuple(
            LabeledImage(number, path, size, xyxy, np.array([class_of[name] for name in names], np.int64), split=split)
            for (number, path, size, xyxy, split), names in zip(images, classes, strict=True)
        ),
        tuple(class_of),
    )


def years_in(root: Path) -> list[Path]:
    """The directories of VOC's layout: `root` itself, or the VOC2007, VOC2012, ... in it; none where it is neither."""
    for candidates in ([root], sorted(root.glob("VOC*"))):
        if years := [d for d in candidates if (d / "Annotations").is_dir() and (d / "JPEGImages").is_dir()]:
            return years
    return []


def read_years(years: list[Path]) -> Dataset:
    """Every year's pictures, ids 1, 2, ... in the order of (year, name).

    The lists in ImageSets/Main decide. Where one year has a test.txt, the protocol is that of VOC07+12: every year's
    trainval.txt (or train.txt and val.txt) is "train", every test.txt "test". Where none has, train.txt is "train" and
    val.txt "val". Where the lists know one side only, or there are none, there is no split. Pictures in no list are
    left out, unless there are no lists.

    Raises:
        ValueError: a list names a picture without XML or one twice, or a picture is missing.
    """
    lists = [{name: _list(year, name) for name in ("trainval", "train", "val", "test")} for year in years]
    has_test = any(names["test"] for names in lists)
    sides: list[tuple[list[str], list[str]]] = []  # of each year, the names that train and those that evaluate
    for year, names in zip(years, lists, strict=True):
        both = names["trainval"] or names["train"] + names["val"]
        if not any(any(each.values()) for each in lists):
            sides.append(([file.stem for file in (year / "Annotations").glob("*.xml")], []))
        elif has_test:
            sides.append((both, names["test"]))
        elif names["train"] and names["val"]:
            sides.append((names["train"], names["val"]))
        else:
            sides.append((both, []))
    has_sides = any(train for train, _ in sides) and any(rest for _, rest in sides)
    splits = ("train", "test" if has_test else "val") if has_sides else (None, None)
    sources = [s for year, of_year in zip(years, sides, strict=True) for s in _sources(year, of_year, splits)]
    dataset = read(sources)
    require_images([image.path for image in dataset.images], " and ".join(map(str, years)))
    return dataset


def _list(year: Path, name: str) -> list[str]:
    """The names in one of a year's lists, which may carry a second column; none where there is no such list."""
    file = year / "ImageSets" / "Main" / f"{name}.txt"
    return [line.split()[0] for line in file.read_text().splitlines() if line.strip()] if file.exists() else []


def _sources(year: Path, sides: Sequence[list[str]], splits: Sequence[str | None]) -> list[VocImage]:
    """One year's files in the order of their names; the names of each side, and the split that each is."""
    main = year / "ImageSets" / "Main"
    times = Counter(name for names in sides for name in names)
    if not times:
        raise ValueError(
            f"{year}: no pictures; looked for names in {main}/{{trainval,train,val,test}}.txt, "
            "or where no year has these, for Annotations/*.xml"
        )
    if repeats := [name for name, count in times.items() if count > 1]:
        raise ValueError(
            f"{main}: {len(repeats)} pictures are listed twice, the first is {repeats[0]}; "
            "let each be either in test.txt or in trainval.txt, and either in train.txt or in val.txt"
        )
    split_of = {name: split for split, names in zip(splits, sides, strict=True) for name in names}
    sources = [VocImage(year / "Annotations" / f"{k}.xml", year / "JPEGImages", split_of[k]) for k in sorted(split_of)]
    if missing := [source.xml for source in sources if not source.xml.exists()]:
        raise ValueError(
            f"{year}: {len(missing)} of {len(sources)} listed pictures have no XML, the first is {missing[0]}; "
            "unpack the annotations too, or remove the list of a test set whose labels are not published"
        )
    return sources

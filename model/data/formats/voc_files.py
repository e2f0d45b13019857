"""Which XML files a directory holds, and what the lists of VOC's years say about who trains and who tests."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from model.data.dataset import Dataset
from model.data.formats.assembled import USABLE
from model.data.formats.splits import is_side
from model.data.formats.text import read_text
from model.data.formats.voc import Pictures, VocImage, parse, read
from model.data.formats.walk import alike, child, files_below, shown

XML = frozenset({".xml"})
FOLDERS = {"annotations", "images", "jpegimages", "labels"}  # that say nothing about the split


def years_in(root: Path) -> list[Path]:
    """The directories of VOC's layout: `root` itself, or the VOC2007, VOC2012, ... in it; none where it is neither."""
    for candidates in ([root], sorted(root.glob("VOC*"))):
        if years := [d for d in candidates if _annotations(d) and _pictures(d)]:
            return years
    return []


def beside_pictures(root: Path) -> list[Path]:
    """XML files of pictures anywhere below a directory: beside them (labelImg, Roboflow), or in a folder."""
    files = files_below(root, XML)
    return files if any(_is_annotation(file) for file in files[:20]) else []


def read_beside(root: Path, files: Sequence[Path]) -> Dataset:
    """Every picture that has an XML; folders whose names say so are the splits."""
    words = [_folder(file.relative_to(root)) for file in files]
    named = any(map(is_side, words))
    sources = [
        VocImage(file, file.relative_to(root), word if named else None) for file, word in zip(files, words, strict=True)
    ]
    pictures = Pictures(root)
    return read(sources, pictures, root, pictures.without(file.stem for file in files))


def read_years(years: list[Path]) -> Dataset:
    """Every year's pictures, ids 1, 2, ... in the order of (year, name).

    The lists in ImageSets/Main decide. Where one year has a test.txt, the protocol is that of VOC07+12: every year's
    trainval.txt (or train.txt and val.txt) is "train", every test.txt "test". Where none has, train.txt is "train" and
    val.txt "val". Where the lists know one side only, or there are none, there is no split. Pictures in no list are
    left out, unless there are no lists.

    Raises:
        ValueError: a list names a picture twice, or too many have no XML or are missing.
    """
    lists = [{name: _list(year, name) for name in ("trainval", "train", "val", "test")} for year in years]
    has_test = any(names["test"] for names in lists)
    sides: list[tuple[list[str], list[str]]] = []  # of each year, the names that train and those that evaluate
    for year, names in zip(years, lists, strict=True):
        both = names["trainval"] or names["train"] + names["val"]
        if not any(any(each.values()) for each in lists):
            sides.append((list(_xmls(year)), []))
        elif has_test:
            sides.append((both, names["test"]))
        elif names["train"] and names["val"]:
            sides.append((names["train"], names["val"]))
        else:
            sides.append((both, []))
    splits = ("train", "test" if has_test else "val")
    found_in = [_sources(year, of_year, splits) for year, of_year in zip(years, sides, strict=True)]
    sources, notes = [found for found, _ in found_in], [note for _, notes in found_in for note in notes]
    of_year = [Pictures(_at(year)) for year in years]
    pictures = [of for of, found in zip(of_year, sources, strict=True) for _ in found]
    unlabeled = [path for year, of in zip(years, of_year, strict=True) for path in of.without(_stems(year))]
    listed = any(any(each.values()) for each in lists)  # who is not in a list is left out on purpose
    every = [source for found in sources for source in found]
    return read(every, pictures, " and ".join(map(str, years)), [] if listed else unlabeled, notes)


def _annotations(year: Path) -> Path | None:
    return found if (found := child(year, "Annotations")) and found.is_dir() and files_below(found, XML) else None


def _pictures(year: Path) -> Path | None:
    return found if (found := child(year, "JPEGImages", "images")) and found.is_dir() else None


def _at(year: Path) -> Path:
    return _pictures(year) or year


def _xmls(year: Path) -> dict[str, Path]:
    """A year's XML files by their place below Annotations/, without the suffix."""
    root = _annotations(year) or year
    return {file.relative_to(root).with_suffix("").as_posix(): file for file in files_below(root, XML)}


def _stems(year: Path) -> list[str]:
    return [file.stem for file in _xmls(year).values()]


def _list(year: Path, name: str) -> list[str]:
    """The names in one of a year's lists, which may carry a second column; none where there is no such list."""
    file = year / "ImageSets" / "Main" / f"{name}.txt"
    lines = read_text(file).splitlines() if file.exists() else []
    return [re.sub(r"\s+-?[01]$", "", line.strip()).strip('"') for line in lines if line.strip()]


def _sources(year: Path, sides: Sequence[list[str]], splits: Sequence[str | None]) -> tuple[list[VocImage], list[str]]:
    """One year's files in the order of their names, and what is to be said of them.

    Args:
        sides: the names of each side.
        splits: the split that each side is.
    """
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
    exactly = _xmls(year)
    otherwise = {alike(place): file for place, file in exactly.items()}
    files = {name: exactly.get(name) or otherwise.get(alike(name)) for name in times}
    split_of = {name: split for split, names in zip(splits, sides, strict=True) for name in names}
    missing = [name for name in sorted(split_of) if files[name] is None]
    if len(missing) > len(split_of) * (1 - USABLE) + 1e-9:
        raise ValueError(
            f"{_without(year, missing, len(split_of))}; unpack the annotations too, or remove the list of a test set "
            "whose labels are not published"
        )
    notes = [f"{_without(year, missing, len(split_of))}; left out"] if missing else []
    return [VocImage(file, Path(f"{name}.xml"), split_of[name]) for name, file in sorted(files.items()) if file], notes


def _without(year: Path, missing: Sequence[str], total: int) -> str:
    first = (_annotations(year) or year) / f"{missing[0]}.xml"
    return f"{year}: {len(missing)} of {total} listed pictures have no XML, the first is {shown(first)}"


def _folder(place: Path) -> str:
    words = [part for part in place.parts[:-1] if part.lower() not in FOLDERS]
    return words[0] if words else ""


def _is_annotation(file: Path) -> bool:
    try:
        return parse(file).tag == "annotation"
    except ValueError:
        return False

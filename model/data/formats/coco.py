"""COCO instances on disk: one file, or the files of several splits, checked entry by entry and read as one data set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model.data.dataset import Dataset
from model.data.formats.assembled import USABLE, Item, assemble
from model.data.formats.coco_entries import Annotation, Category, Image, key, why
from model.data.formats.coco_pictures import Pictures
from model.data.formats.text import distinct, read_text
from model.data.formats.turned import DISPLAYED
from model.data.formats.walk import shown

TABLES = {"images", "annotations", "categories"}
LARGEST = 2**63  # ids are kept as int64


@dataclass(frozen=True)
class Part:
    """A COCO file, the directories in which its pictures may be, and the word for the split of them all."""

    file: Path
    places: tuple[Path, ...]
    split: str | None = None


def load(file: Path) -> Any:
    """The JSON in a file. Raises ValueError, naming the file, where it is none."""
    try:
        return json.loads(read_text(file))
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a bare ValueError
        if isinstance(error, ValueError) and shown(file) in str(error):
            raise
        raise ValueError(f"{shown(file)}: not readable as JSON ({error}); get or export it again") from None


def is_instances(content: Any) -> bool:
    """Whether this is a file of COCO instances."""
    return isinstance(content, dict) and content.keys() >= TABLES


def read(parts: Sequence[Part]) -> Dataset:
    """COCO files as one data set, in their order.

    The ids of images are kept where they are whole numbers and differ over all files; otherwise images are numbered
    anew, and that is said.
    """
    tables = [_Table.of(part) for part in parts]
    for table in tables[1:]:
        if table.names != tables[0].names:
            raise ValueError(
                f"{shown(table.file)}: other categories than {tables[0].file.name}; give both the same ids and names"
            )
    source = " and ".join(str(part.file) for part in parts)
    items = [item for table in tables for item in table.items]
    notes = [note for table in tables for note in table.notes]
    ids = [item.id for item in items]
    if None in ids or len(set(ids)) < len(ids):
        notes.append(f"{shown(source)}: image ids are text, beyond 64 bits or the same in two files; numbered anew")
        items = [replace(item, id=None) for item in items]
    return assemble(items, [name for _, name in tables[0].names], source, notes)


@dataclass
class _Table:
    """One file's categories, sorted by id, and its images with their objects."""

    file: Path
    names: list[tuple[int | str, str]]
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, part: Part) -> _Table:
        content = load(part.file)
        for name in sorted(TABLES, key=["images", "annotations", "categories"].index):
            if not isinstance(content, dict) or name not in content:
                hint = "; this looks like Label Studio's own JSON, export as COCO" if isinstance(content, list) else ""
                raise ValueError(f"{shown(part.file)}: no {name!r}; give a file of COCO instances{hint}")
            if not isinstance(content[name], list):
                raise ValueError(f"{shown(part.file)}: {name!r} is {content[name]!r:.40} where a list was expected")
        table = cls(part.file, _categories(content, part.file))
        table._read(content, part)
        return table

    def _read(self, content: dict[str, list], part: Part) -> None:
        at = shown(self.file)
        about = content.get("info")
        drawn = isinstance(about, dict) and about.get("contributor") == "Label Studio"  # whose boxes are as people drew
        images: dict[int | str, Image] = {}
        problems: dict[int | str, str] = {}
        unread: list[str] = []
        repeated: list[int | str] = []
        for number, entry in enumerate(content["images"], start=1):
            try:
                image = Image.model_validate(entry)
            except ValidationError as error:
                unread.append(f"entry {number}: {why(error)}")
                if isinstance(entry, dict) and "id" in entry:
                    problems[key(entry["id"])] = ""  # its annotations are no strays
                continue
            if image.id in images:
                repeated.append(image.id)
            images[image.id] = image
        if repeated:
            raise ValueError(
                f"{at}: {len(repeated)} image ids occur twice, the first is {repeated[0]}; number the images anew"
            )
        if unread:
            said = f"{len(unread)} images cannot be read, the first is {unread[0]}"
            self._refuse(len(unread), len(content["images"]), said)
            self.notes.append(f"{at}: {said}; left out")
        objects: dict[int | str, list[_Object]] = {image: [] for image in images}
        names, strays = dict(self.names), []
        for number, entry in enumerate(content["annotations"], start=1):
            found = _annotation(entry, number, names)
            if found.image is None or (found.image not in images and found.image not in problems):
                strays.append(f"{found.said}, of image {found.image}" if found.image is not None else found.said)
            elif found.box is None:
                problems.setdefault(found.image, f"{at}: {found.said}")
            elif found.image in images:
                objects[found.image].append(found)
        if strays:
            said = f"{len(strays)} annotations are of images that are not listed, the first is {strays[0]}"
            self._refuse(len(strays), len(content["annotations"]), said)
            self.notes.append(f"{at}: {said}; left out")
        pictures = Pictures(part.places)
        for image_id, image in images.items():
            boxes = objects[image_id]
            self.items.append(
                Item(
                    path=pictures.find(image.file_name),
                    corners=[one.box for one in boxes if one.box],
                    labels=[one.label for one in boxes],
                    crowd=[one.crowd for one in boxes],
                    declared=image.size,
                    frame=DISPLAYED if drawn and not any(one.outlined for one in boxes) else None,
                    split=part.split or image.split,
                    id=image_id if isinstance(image_id, int) and 0 <= image_id < LARGEST else None,
                    problem=problems.get(image_id),
                )
            )

    def _refuse(self, bad: int, total: int, said: str) -> None:
        """Raises ValueError where fewer than USABLE of a table's entries can be used."""
        if bad > total * (1 - USABLE) + 1e-9:
            raise ValueError(f"{shown(self.file)}, of {total}: {said}; correct them, {USABLE:.0%} must be usable")


@dataclass(frozen=True)
class _Object:
    """One annotation: of which image, and its box where it can be used; `said` names it and what is wrong. `outlined`:
    polygons were drawn."""

    image: int | str | None
    said: str
    box: list[float] | None = None
    label: str = ""
    crowd: bool = False
    outlined: bool = False


def _annotation(entry: Any, number: int, names: dict[int | str, str]) -> _Object:
    name = f"annotation {entry.get('id', f'number {number}') if isinstance(entry, dict) else f'number {number}'}"
    try:
        annotation = Annotation.model_validate(entry)
    except ValidationError as error:
        image = entry.get("image_id") if isinstance(entry, dict) else None
        return _Object(None if image is None else key(image), f"{name}: {why(error)}")
    if annotation.category_id not in names:
        said = f"category_id {annotation.category_id} is not among the file's categories {sorted(map(str, names))}"
        return _Object(annotation.image_id, f"{name}: {said}")
    label = names[annotation.category_id]
    outlined = bool(entry.get("segmentation"))
    return _Object(annotation.image_id, name, annotation.corners, label, annotation.iscrowd, outlined)


def _categories(content: dict[str, list], file: Path) -> list[tuple[int | str, str]]:
    """(id, name) sorted by id, without the empty parent of the others that Roboflow puts first."""
    categories = []
    for number, entry in enumerate(content["categories"], start=1):
        try:
            categories.append(Category.model_validate(entry))
        except ValidationError as error:
            raise ValueError(f"{shown(file)}: category {number}: {why(error)}; name every category") from None
    used = {key(a["category_id"]) for a in content["annotations"] if isinstance(a, dict) and "category_id" in a}
    parents = {category.supercategory for category in categories if category.supercategory not in ("", category.name)}
    kept = [c for c in categories if c.id in used or c.name not in parents]
    distinct([c.name for c in kept], shown(file))
    if len({c.id for c in kept}) < len(kept):
        raise ValueError(f"{shown(file)}: two categories have the same id; number them anew")
    return [(c.id, c.name) for c in sorted(kept, key=lambda c: (isinstance(c.id, str), c.id))]

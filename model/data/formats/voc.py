"""Pascal VOC: one XML a picture, read object by object."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.data.dataset import Dataset
from model.data.formats.assembled import Item, assemble
from model.data.formats.text import read_bytes, read_text
from model.data.formats.walk import alike, pictures_below, shown

SIDES = ("xmin", "ymin", "xmax", "ymax")
DRAWS = {*SIDES, "bndbox", "robndbox", "box", "polygon", "points", "pt"}  # elements that say where something is


@dataclass(frozen=True)
class VocImage:
    """One XML file, its place below the folder of annotations, and the word for the split of its picture."""

    xml: Path
    place: Path
    split: str | None = None


class Pictures:
    """The pictures below a folder, found by the name of an XML file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._at: dict[str, list[Path]] = {}
        self._named: dict[str, list[Path]] = {}
        for path in pictures_below(root):
            self._at.setdefault(_key(path.relative_to(root)), []).append(path)
            self._named.setdefault(alike(path.stem), []).append(path)

    def find(self, place: Path, filename: str) -> Path:
        """The picture of the XML's own name, in the folder of the same name if there is one; else that of `filename`.

        Where there is none: where it would be expected.
        """
        written = filename.strip().replace("\\", "/").rsplit("/", 1)[-1]
        stem = alike(place.stem)
        for found in (self._at.get(_key(place)), self._named.get(stem), self._named.get(alike(Path(written).stem))):
            if found and (len(found) == 1 or found is self._at.get(_key(place))):
                return next((path for path in found if path.name == written), found[0])
        return self.root / place.with_name(written if Path(written).suffix else f"{place.stem}.jpg")

    def without(self, stems: Iterable[str]) -> list[Path]:
        """The pictures of none of these names."""
        known = set(map(alike, stems))
        return [path for stem, paths in self._named.items() if stem not in known for path in paths]


def read(
    sources: Sequence[VocImage],
    pictures: Pictures | Sequence[Pictures],
    source: Path | str,
    unlabeled: Sequence[Path] = (),
    notes: Sequence[str] = (),
) -> Dataset:
    """The pictures of these files; ids are 1, 2, ... in the order given, classes are sorted by name.

    Objects marked `difficult` are left out, and pictures that have no others: they are no background. VOC's own
    evaluation lets a detection of one count neither for nor against; COCO's crowd regions would be the nearest thing,
    but swallow any number of detections and measure overlap by another formula, so that the figures would be neither
    VOC's nor COCO's.

    Args:
        pictures: where the pictures are: of all sources, or of each.
        source: what was read, for messages.
        unlabeled: pictures that have no XML: nobody looked at them, so they are left out, and counted.
        notes: what is to be said beside that.
    """
    each = [pictures] * len(sources) if isinstance(pictures, Pictures) else pictures
    read_items = [_item(voc, of) for voc, of in zip(sources, each, strict=True)]
    difficult = sum(count for _, count in read_items)
    notes = list(notes)
    if difficult:
        notes.append(f"{shown(source)}: {difficult} objects marked `difficult` are left out")
    if unlabeled:
        said = f"{len(unlabeled)} images have no XML and are left out, the first is {unlabeled[0]}"
        notes.append(shown(f"{source}: {said}"))
    return assemble([item for item, _ in read_items], None, source, notes)


def parse(xml: Path) -> ElementTree.Element:
    """The file's root; elements are named in small letters and without a namespace. Raises ValueError, naming the file,
    where it is no XML.

    Encodings that the parser does not know (GBK) are decoded here, by the name that the file declares.
    """
    raw = read_bytes(xml)
    declared = re.match(rb"\s*<\?xml[^>]*encoding=[\"']([\w.-]+)[\"']", raw)
    try:
        if declared and declared[1].lower().replace(b"-", b"") not in (b"utf8", b"utf16"):
            text = raw.decode(declared[1].decode())
        else:
            text = read_text(xml)
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))
    except (ElementTree.ParseError, LookupError, UnicodeError) as error:
        raise ValueError(f"{shown(xml)}: not readable as XML ({error}); export it again") from None
    for element in root.iter():
        element.tag = str(element.tag).rpartition("}")[2].lower()
    return root


def _item(voc: VocImage, pictures: Pictures) -> tuple[Item, int]:
    """What one file says, and how many objects of it are difficult."""
    try:
        root = parse(voc.xml)
    except ValueError as error:
        return Item(pictures.find(voc.place, ""), split=voc.split, problem=str(error)), 0
    path = pictures.find(voc.place, root.findtext("filename") or "")
    everything = list(root.iter("object"))
    objects = [o for o in everything if not _true(o.findtext("difficult"))]
    try:
        _check_schema(root, everything, voc.xml)
        from_zero = root.findtext("owner/name") == "Label Studio"
        corners = [_corners(o, voc.xml, from_zero) for o in objects]
        labels = [_label(o, voc.xml) for o in objects]
    except ValueError as error:
        return Item(path, split=voc.split, problem=str(error)), 0
    problem = "all of its objects are marked `difficult`" if everything and not objects else None
    item = Item(path, corners, labels, declared=_size(root), split=voc.split, problem=problem)
    return item, len(everything) - len(objects)


def _check_schema(root: ElementTree.Element, objects: Sequence[ElementTree.Element], xml: Path) -> None:
    """Raises ValueError where the file is none of VOC's, or draws in a way of its own: what is not found in it would be
    background."""
    if root.tag != "annotation":
        raise ValueError(f"{xml}: its root is <{shown(root.tag)[:40]}>, not <annotation>; export as Pascal VOC")
    if not objects and any(element.tag in DRAWS for element in root.iter()):
        raise ValueError(f"{xml}: draws something, but has no <object>; export as Pascal VOC")


def _corners(found: ElementTree.Element, xml: Path, from_zero: bool) -> list[float]:
    """x1, y1, x2, y2: VOC counts pixels from 1 and includes the last one; Label Studio counts `from_zero`."""
    values, box = [], found.find("bndbox")
    for side in SIDES:
        text = box.findtext(side) if box is not None else None
        if text is None or not text.strip():
            raise ValueError(f"{xml}: an object without {side}")
        try:
            values.append(float(text))
        except ValueError:
            raise ValueError(f"{xml}: {side} is {text.strip()!r:.40}, which is no number") from None
    x1, y1, x2, y2 = values
    if from_zero:
        return values
    return [x1 - (x1 <= x2), y1 - (y1 <= y2), x2 - (x2 < x1), y2 - (y2 < y1)]


def _label(found: ElementTree.Element, xml: Path) -> str:
    if label := (found.findtext("name") or "").strip():
        return label
    raise ValueError(f"{xml}: an object without a name")


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    """The declared size; None where it is left out, 0 or no number, as some tools have it."""
    try:
        width, height = (round(float(root.findtext(f"size/{side}") or "0")) for side in ("width", "height"))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _true(text: str | None) -> bool:
    return (text or "").strip().lower() in ("1", "1.0", "true")


def _key(place: Path) -> str:
    return alike(place.with_suffix("").as_posix())

"""Which odd files of labeled data are read right by our readers, by supervision's and by datumaro's?

    python -m bench.odd_files
    uv run --no-project --with supervision==0.31.2 --with pydantic python -m bench.odd_files --reader supervision
    uv run --no-project --with datumaro==1.13.12 --with pydantic python -m bench.odd_files --reader datumaro

Ten pictures are written as COCO, YOLO or Pascal VOC, where the reader looks for them, and one thing of the first one is
changed, as docs/INPUTS.md has it. Right is the box that is meant; or, where none can be known, the picture left out or
one line that names a file or an entry. datumaro reads classes of VOC only from a labelmap.txt, which it gets here and
exporters but CVAT do not write. The last line is JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tests.model.data.exported import NAMES, label_studio_coco, label_studio_voc, label_studio_yolo, recoded

Found = dict[str, list[tuple[str, list[float]]]]
MEANT, NONE = [5.0, 11.0, 15.0, 41.0], None
BARE = (KeyError, TypeError, IndexError, AttributeError, UnboundLocalError)  # words of Python, for nobody


def coco(**first: Any) -> Callable[[Path], object]:
    """Changes of the first annotation."""
    return of_coco(lambda content: content["annotations"][0].update(first))


def of_coco(change: Callable[[dict], object]) -> Callable[[Path], object]:
    def write(root: Path) -> None:
        file = next(root.rglob("*.json"))
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))

    return write


def yolo(line: str) -> Callable[[Path], object]:
    return lambda root: (root / "labels/p01.txt").write_text(line + "\n")


def voc(pattern: str, by: str) -> Callable[[Path], object]:
    def write(root: Path) -> None:
        file = root / "Annotations/p01.xml"
        file.write_text(re.sub(pattern, by, file.read_text(), count=1))

    return write


def renamed(old: str, new: str) -> Callable[[Path], object]:
    return lambda root: next(root.rglob(old)).rename(next(root.rglob(old)).with_name(new))


def unchanged(root: Path) -> None:
    """Nothing is odd."""


def half(root: Path) -> None:
    for file in root.rglob("*.png"):
        with Image.open(file) as image:
            image.resize((image.width // 2, image.height // 2)).save(file)


def names(text: str) -> Callable[[Path], object]:
    return lambda root: (root / "data.yaml").write_text(text)


CASES: dict[str, tuple[Callable[[Path], object], list[float] | None]] = {
    "coco as it is": (coco(), MEANT),
    "coco windows": (
        of_coco(lambda c: [i.update(file_name=i["file_name"].replace("/", "\\")) for i in c["images"]]),
        MEANT,
    ),
    "coco above": (of_coco(lambda c: [i.update(file_name=f"../../{i['file_name']}") for i in c["images"]]), MEANT),
    "coco beyond": (coco(bbox=[-20, 10, 60, 30]), [0, 10, 40, 40]),
    "coco negative": (coco(bbox=[40, 40, -30, -30]), [10, 10, 40, 40]),
    "coco no width": (coco(bbox=[10, 10, 0, 30]), NONE),
    "coco inf": (coco(bbox=[10, 10, float("inf"), 30]), NONE),
    "coco half size": (half, [2.5, 5.5, 7.5, 20.5]),
    "coco other size": (of_coco(lambda c: c["images"][0].update(width=80, height=100)), NONE),
    "coco bbox []": (coco(bbox=[]), NONE),
    "coco bbox null": (coco(bbox=None), NONE),
    "coco bbox text": (coco(bbox=["5", "11", "10", "30"]), MEANT),
    "coco image id text": (coco(image_id="0"), MEANT),
    "coco category text": (coco(category_id="2"), MEANT),
    "coco iscrowd '0'": (coco(iscrowd="0"), MEANT),
    "coco images null": (of_coco(lambda c: c.update(images=None)), NONE),
    "coco twice": (of_coco(lambda c: c["annotations"].append(c["annotations"][0] | {"id": 99})), MEANT),
    "coco two of a name": (of_coco(lambda c: c["categories"][1].update(name="bolt")), NONE),
    "coco all crowds": (of_coco(lambda c: [a.update(iscrowd=1) for a in c["annotations"]]), NONE),
    "coco image missing": (lambda root: next(root.rglob("p01.png")).unlink(), NONE),
    "yolo as it is": (unchanged, MEANT),
    "yolo tab": (names("train: images\n\tval: images\nnames: [a, b, c]\n"), NONE),
    "yolo beyond": (yolo("1 .1 .5 .4 .5"), [0, 20, 30, 60]),
    "yolo negative": (yolo("1 .5 .5 -.2 .5"), [40, 20, 60, 60]),
    "yolo pixels": (yolo("1 50 40 20 30"), NONE),
    "yolo nan": (yolo("1 nan .5 .2 .2"), NONE),
    "yolo comma": (yolo("1 0,5 0,5 0,2 0,2"), NONE),
    "yolo class 9": (yolo("9 .5 .5 .2 .2"), NONE),
    "yolo tif": (lambda root: recoded(next(root.rglob("p01.png")), ".tif", "TIFF"), MEANT),
    "yolo jfif": (lambda root: recoded(next(root.rglob("p01.png")), ".jfif", "JPEG"), MEANT),
    "yolo x.png.txt": (renamed("p01.txt", "p01.png.txt"), MEANT),
    "yolo x.TXT": (renamed("p01.txt", "p01.TXT"), MEANT),
    "yolo ._x": (lambda root: (root / "images/._p01.png").write_bytes(b"\0\5\x16\7"), MEANT),
    "yolo twice": (yolo("1 .1 .325 .1 .375\n1 .1 .325 .1 .375"), MEANT),
    "voc as it is": (unchanged, MEANT),
    "voc filename ''": (voc("<filename>[^<]*", "<filename>"), MEANT),
    "voc filename bare": (voc("<filename>[^<]*", "<filename>p01"), MEANT),
    "voc filename path": (voc("<filename>[^<]*", "<filename>/data/p01.png"), MEANT),
    "voc filename jpg": (voc("<filename>[^<]*", "<filename>p01.jpg"), MEANT),
    "voc renamed": (voc("<filename>[^<]*", "<filename>IMG_3.jpg"), MEANT),
    "voc beyond": (voc("<xmax>[^<]*", "<xmax>900"), [5, 11, 100, 41]),
    "voc swapped": (voc("<xmin>[^<]*", "<xmin>51"), [14, 11, 51, 41]),
    "voc left": (voc("<xmin>[^<]*", "<xmin>left"), NONE),
    "voc ''": (voc("<xmin>[^<]*", "<xmin>"), NONE),
    "voc 15.0": (voc("<xmax>[^<]*", "<xmax>15.0"), MEANT),
    "voc .XML": (renamed("p01.xml", "p01.XML"), MEANT),
    "voc broken": (voc("</annotation>", ""), NONE),
}
WRITERS = {"coco": label_studio_coco, "yolo": label_studio_yolo, "voc": label_studio_voc}


def ours(root: Path, _: str) -> Found:
    from model.data.directories import open_directory

    dataset = open_directory(root)
    return {
        image.path.stem: [(dataset.names[k], box) for k, box in zip(image.class_ids, image.xyxy.tolist(), strict=True)]
        for image in dataset.images
    }


def supervision(root: Path, kind: str) -> Found:
    kinds = importlib.import_module("supervision").DetectionDataset
    if kind == "coco":
        dataset = kinds.from_coco(str(root), str(root / "result.json"))
    elif kind == "yolo":
        dataset = kinds.from_yolo(str(root / "images"), str(root / "labels"), str(root / "data.yaml"))
    else:
        dataset = kinds.from_pascal_voc(str(root / "images"), str(root / "Annotations"))
    return {
        Path(path).stem: [(dataset.classes[k], box) for k, box in zip(found.class_id, found.xyxy.tolist(), strict=True)]
        for path, _, found in dataset
    }


def datumaro(root: Path, kind: str) -> Found:
    package = importlib.import_module("datumaro")
    if kind == "coco":
        (root / "annotations").mkdir()
        (root / "result.json").rename(root / "annotations/instances_default.json")
    elif kind == "voc":
        (root / "images").rename(root / "JPEGImages")
        (root / "labelmap.txt").write_text("".join(f"{name}:::\n" for name in NAMES))
        (root / "ImageSets/Main").mkdir(parents=True)
        (root / "ImageSets/Main/train.txt").write_text("".join(f"p{k:02d}\n" for k in range(1, 11)))
    dataset = package.Dataset.import_from(str(root), kind)
    labels = dataset.categories()[package.AnnotationType.label]
    found: Found = {}
    for item in dataset:
        boxes = [a for a in item.annotations if a.type == package.AnnotationType.bbox]
        found[Path(item.id).stem] = [(labels[b.label].name, [b.x, b.y, b.x + b.w, b.y + b.h]) for b in boxes]
    return found


READERS = {"ours": ours, "supervision": supervision, "datumaro": datumaro}


def right(root: Path, case: str, reader: Callable[[Path, str], Found]) -> tuple[bool, str]:
    """Whether a case is read right, and what came of it."""
    change, meant = CASES[case]
    kind = case.split()[0]
    WRITERS[kind](root)
    if kind == "yolo":
        (root / "data.yaml").write_text(json.dumps({"train": "images", "val": "images", "names": NAMES}))
    change(root)
    try:
        found = reader(root, kind)
    except Exception as error:  # noqa: BLE001  whatever a reader raises is what it says
        said = str(error)
        named = any(word in said for word in (str(root), "p01", "annotation", "categor", "images"))
        return meant is None and named and not isinstance(error, BARE), f"{type(error).__name__}: {said[:100]!r}"
    boxes = [box for _, box in found.get("p01", [])]
    if meant is None:
        return "p01" not in found and len(found) == 9, f"{len(found)} pictures, {boxes}"
    near = len(boxes) == 1 and max(abs(a - b) for a, b in zip(boxes[0], meant, strict=True)) <= 1.01
    return near and len(found) == 10, f"{len(found)} pictures, {boxes}"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", choices=READERS, default="ours")
    reader = parser.parse_args(arguments).reader
    wrong = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as directory:
            well, said = right(Path(directory), case, READERS[reader])
        if not well:
            wrong.append(case)
            print(f"{case}: {said}")
    print(json.dumps({"reader": reader, "right": len(CASES) - len(wrong), "of": len(CASES)}))


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # here, and not in whoever calls it
    main()

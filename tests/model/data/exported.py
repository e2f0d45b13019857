"""The same ten pictures in every format, laid out as the tools that people label with export them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from model.data.dataset import Dataset, LabeledImage
from tests.model.data.pictures import write_picture
from tests.model.written import label_lines, write

NAMES = ("bolt", "nut", "washer")


def ten() -> Dataset:
    """Ten pictures of two shapes, with none to three boxes; 7 and 8 validate, 9 and 10 test. Nothing is on disk."""
    images = []
    for k in range(1, 11):
        size = (100, 80) if k % 2 else (60, 90)
        boxes = [[5 + 10 * n, 10 + k, 15 + 10 * n, 40 + k + n] for n in range(k % 4)]
        classes = [(k + n) % 3 for n in range(k % 4)]
        corners = np.array(boxes, np.float32).reshape(-1, 4)
        split = "train" if k < 7 else "val" if k < 9 else "test"
        images.append(LabeledImage(k, Path(f"p{k:02d}.png"), size, corners, np.array(classes, np.int64), split=split))
    return Dataset(tuple(images), NAMES)


def objects_of(dataset: Dataset, image: LabeledImage) -> list[tuple[Any, ...]]:
    """(class name, x1, y1, x2, y2) of an image's objects, sorted: formats differ in the order."""
    return sorted((dataset.names[k], *box) for k, box in zip(image.class_ids, image.xyxy.tolist(), strict=True))


def _put(directory: Path, images: Sequence[LabeledImage]) -> None:
    for image in images:
        write_picture(directory / image.path.name, *image.size)


def _coco(images: Sequence[LabeledImage], name: Callable[[str], str] = str, first: int = 0, **more: Any) -> str:
    """Instances of some images, numbered from `first`, as most exporters do."""
    coco = Dataset(tuple(images), NAMES).to_coco()
    number = {image["id"]: first + k for k, image in enumerate(coco["images"])}
    for image in coco["images"]:
        image |= {"id": number[image["id"]], "file_name": name(image["file_name"])}
        image.pop("split")
    for annotation in coco["annotations"]:
        annotation["image_id"] = number[annotation["image_id"]]
    return json.dumps(coco | more)


def _sides() -> dict[str, list[LabeledImage]]:
    return {side: [i for i in ten().images if i.split == side] for side in ("train", "val", "test")}


def label_studio_coco(root: Path) -> Path:
    _put(root / "images", ten().images)
    write(root / "result.json", _coco(ten().images, lambda name: f"images/{name}"))
    return root


def label_studio_coco_windows(root: Path) -> Path:
    _put(root / "images", ten().images)
    write(root / "result.json", _coco(ten().images, lambda name: f"images\\{name}"))
    return root


def label_studio_coco_without_download(root: Path) -> Path:
    _put(root / "images", ten().images)
    write(root / "result.json", _coco(ten().images, lambda name: f"../../media/upload/1/{name}"))
    return root


def the_file_itself(root: Path) -> Path:
    return label_studio_coco(root) / "result.json"


def label_studio_yolo(root: Path) -> Path:
    _put(root / "images", ten().images)
    for image in ten().images:
        write(root / "labels" / f"{image.path.stem}.txt", label_lines(image))
    write(root / "classes.txt", "\n".join(NAMES))
    write(root / "notes.json", json.dumps({"categories": [], "info": {"contributor": "Label Studio"}}))
    return root


def _xml(image: LabeledImage, filename: str | None = None) -> str:
    objects = [
        f"<object><name>{NAMES[k]}</name><difficult>0</difficult><bndbox><xmin>{x1 + 1:g}</xmin><ymin>{y1 + 1:g}</ymin>"
        f"<xmax>{x2:g}</xmax><ymax>{y2:g}</ymax></bndbox></object>"
        for k, (x1, y1, x2, y2) in zip(image.class_ids, image.xyxy, strict=True)
    ]
    return (
        f"<annotation><filename>{image.path.name if filename is None else filename}</filename><size><width>"
        f"{image.size[0]}</width><height>{image.size[1]}</height></size>{''.join(objects)}</annotation>"
    )


def label_studio_voc(root: Path) -> Path:
    _put(root / "images", ten().images)
    for image in ten().images:
        write(root / "Annotations" / f"{image.path.stem}.xml", _xml(image))
    return root


def voc_beside(root: Path) -> Path:
    """labelImg; the path of another machine in <filename>."""
    _put(root, ten().images)
    for image in ten().images:
        write(root / f"{image.path.stem}.xml", _xml(image, f"C:\\pictures\\{image.path.name}"))
    return root


def voc_sub_folders(root: Path) -> Path:
    """XML in sub-folders, with another suffix in capitals, and names that say nothing."""
    for image in ten().images:
        below = f"day{image.id % 2}"
        write_picture(root / "JPEGImages" / below / image.path.name, *image.size)
        write(
            root / "Annotations" / below / f"{image.path.stem}.XML", _xml(image, ["", "x", "other.jpg"][image.id % 3])
        )
    return root


def labelimg_yolo(root: Path) -> Path:
    _put(root, ten().images)
    for image in ten().images:
        write(root / f"{image.path.stem}.txt", label_lines(image))
    write(root / "classes.txt", "\ufeff" + "\r\n".join(NAMES) + "\r\n")
    return root


def cvat_yolo(root: Path) -> Path:
    _put(root / "obj_train_data", ten().images)
    for image in ten().images:
        write(root / "obj_train_data" / f"{image.path.stem}.txt", label_lines(image))
    write(root / "obj.names", "\n".join(NAMES) + "\n")
    write(root / "obj.data", "classes = 3\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
    write(root / "train.txt", "".join(f"data/obj_train_data/{i.path.name}\n" for i in ten().images))
    return root


def cvat_ultralytics(root: Path) -> Path:
    _put(root / "images" / "train", ten().images)
    for image in ten().images:
        write(root / "labels" / "train" / f"{image.path.stem}.txt", label_lines(image))
    write(root / "train.txt", "".join(f"data/images/train/{i.path.name}\n" for i in ten().images))
    write(root / "data.yaml", "names:\n  0: bolt\n  1: nut\n  2: washer\npath: .\ntrain: train.txt\n")
    return root


def cvat_coco(root: Path) -> Path:
    _put(root / "images" / "default", ten().images)
    write(root / "annotations" / "instances_default.json", _coco(ten().images, first=1))
    return root


def fiftyone_coco(root: Path) -> Path:
    _put(root / "data", ten().images)
    write(root / "labels.json", _coco(ten().images, first=1))
    return root


def archive(root: Path) -> Path:
    """Unpacked into a folder of its own, by a Mac."""
    fiftyone_coco(root / "export")
    write(root / "__MACOSX" / "export" / "._labels.json", "no JSON")
    write(root / "export" / "data" / "._p01.png", "no picture")
    return root


def linked(root: Path) -> Path:
    label_studio_yolo(root / "real")
    (root / "set").mkdir()
    (root / "set" / "images").symlink_to(root / "real" / "images")
    (root / "set" / "labels").symlink_to(root / "real" / "labels")
    (root / "real" / "images" / "round").symlink_to(root / "real" / "images")  # holds itself
    (root / "set" / "classes.txt").symlink_to(root / "real" / "classes.txt")
    return root / "set"


def roboflow_coco(root: Path) -> Path:
    for side, images in _sides().items():
        folder = root / {"val": "valid"}.get(side, side)
        _put(folder, images)
        parts = json.loads(_coco(images))
        parts["categories"] = [{"id": 0, "name": "parts", "supercategory": "none"}] + [
            category | {"supercategory": "parts"} for category in parts["categories"]
        ]
        write(folder / "_annotations.coco.json", json.dumps(parts))
    return root


def roboflow_yolo(root: Path) -> Path:
    for side, images in _sides().items():
        folder = root / {"val": "valid"}.get(side, side)
        _put(folder / "images", images)
        for image in images:
            write(folder / "labels" / f"{image.path.stem}.txt", label_lines(image))
    write(
        root / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 3\nnames: [bolt, nut, washer]\n",
    )
    return root


def roboflow_voc(root: Path) -> Path:
    for side, images in _sides().items():
        folder = root / {"val": "valid"}.get(side, side)
        _put(folder, images)
        for image in images:
            write(folder / f"{image.path.stem}.xml", _xml(image))
    return root


def fiftyone_yolo(root: Path) -> Path:
    for side, images in _sides().items():
        _put(root / "images" / side, images)
        for image in images:
            write(root / "labels" / side / f"{image.path.stem}.txt", label_lines(image))
    sides = "".join(f"{side}: ./images/{side}/\n" for side in _sides())
    write(root / "dataset.yaml", f"path: /export/of/another/machine\n{sides}names:\n  0: bolt\n  1: nut\n  2: washer\n")
    return root


def cvat_coco_splits(root: Path) -> Path:
    for side, word in (("train", "Train"), ("val", "Validation"), ("test", "Test")):
        _put(root / "images" / word, _sides()[side])
        write(root / "annotations" / f"instances_{word}.json", _coco(_sides()[side], first=1))
    return root


ONE_SIDED = [
    label_studio_coco, label_studio_coco_windows, label_studio_coco_without_download, label_studio_yolo,
    label_studio_voc, voc_beside, voc_sub_folders, labelimg_yolo, cvat_yolo, cvat_ultralytics, cvat_coco, fiftyone_coco,
    archive, linked, the_file_itself,
]  # fmt: skip
TWO_SIDED = [roboflow_coco, roboflow_yolo, roboflow_voc, fiftyone_yolo, cvat_coco_splits]


def recoded(path: Path, suffix: str, kind: str) -> Path:
    """A picture as another kind of file, under a suffix."""
    with Image.open(path) as image:
        image.save(path.with_suffix(suffix), format=kind)
    path.unlink()
    return path.with_suffix(suffix)

"""One small data set written in every directory format that is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model.data.dataset import Dataset, LabeledImage

TRAIN = {1, 2, 3, 4}  # ids of the six scenes; 5 and 6 evaluate


def put(source: Path, directory: Path) -> Path:
    """A copy of a file in a directory, made where it does not exist."""
    directory.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(source, directory))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def side(image: LabeledImage) -> str:
    return "train" if image.id in TRAIN else "val"


def product(root: Path, scenes: Dataset) -> Path:
    shutil.copytree(scenes.images[0].path.parents[1], root, dirs_exist_ok=True)
    return root


def coco_2017(root: Path, scenes: Dataset, images: str = "") -> Path:
    coco = scenes.to_coco()
    for split, name in (("train", "train2017"), ("val", "val2017")):
        ids = {i.id for i in scenes.images if side(i) == split}
        part = {
            "images": [{k: v for k, v in i.items() if k != "split"} for i in coco["images"] if i["id"] in ids],
            "annotations": [a for a in coco["annotations"] if a["image_id"] in ids],
            "categories": coco["categories"],
        }
        write(root / "annotations" / f"instances_{name}.json", json.dumps(part))
        for image in scenes.images:
            if image.id in ids:
                put(image.path, root / images / name)
    write(root / "annotations" / "captions_val2017.json", "{}")
    write(root / "annotations" / "instances_valminusminival2017.json", "of images that are not here")
    return root


def label_lines(image: LabeledImage) -> str:
    x1, y1, x2, y2 = (image.xyxy / [*image.size, *image.size]).T
    columns = zip(image.class_ids, (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, strict=True)
    return "".join(f"{k} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n" for k, cx, cy, w, h in columns)


def yolo_files(root: Path, scenes: Dataset, by_split: bool = True, empty: bool = False) -> None:
    for image in scenes.images:
        below = side(image) if by_split else "."
        put(image.path, root / "images" / below)
        if empty or len(image.class_ids):  # ultralytics has no file where there is nothing to say, other tools have
            write(root / "labels" / below / f"{image.path.stem}.txt", label_lines(image))


def data_yaml(scenes: Dataset, **entries: Any) -> str:
    return json.dumps({"names": dict(enumerate(scenes.names))} | entries)  # JSON is YAML


def yolo(root: Path, scenes: Dataset) -> Path:
    yolo_files(root, scenes)
    write(root / "data.yaml", data_yaml(scenes, train="images/train", val="images/val"))
    return root


def yolo_yaml_elsewhere(root: Path, scenes: Dataset) -> Path:
    yolo_files(root / "data", scenes)
    return write(
        root / "mine.yaml", data_yaml(scenes, path=str(root / "data"), train=["images/train"], val="images/val")
    )


def yolo_lists(root: Path, scenes: Dataset) -> Path:
    """As ultralytics' COCO: text files list the images; the test images' labels are withheld."""
    yolo_files(root, scenes, by_split=False)
    for split in ("train", "val"):
        lines = [f"./images/{i.path.name}\n" for i in scenes.images if side(i) == split]
        write(root / f"{split}.txt", "".join(lines))
    write(root / "test.txt", "./images/withheld.jpg\n")
    write(root / "data.yaml", data_yaml(scenes, train="train.txt", val=["val.txt"], test="test.txt"))
    return root


def yolo_test(root: Path, scenes: Dataset) -> Path:
    """A labeled test split evaluates too; here `val` and `test` overlap, as in ultralytics' VOC.yaml."""
    yolo_lists(root, scenes)
    write(root / "val.txt", f"images/{scenes.images[4].path.name}\n")
    write(root / "test.txt", "".join(f"{root}/images/{i.path.name}\n" for i in scenes.images[4:]))
    return root


def yolo_polygons(root: Path, scenes: Dataset) -> Path:
    """As ultralytics' COCO labels: outlines instead of boxes."""
    yolo(root, scenes)
    for file in (root / "labels").rglob("*.txt"):
        rows = [[float(v) for v in line.split()] for line in file.read_text().splitlines()]
        diamonds = [(k, (x - w / 2, y), (x, y - h / 2), (x + w / 2, y), (x, y + h / 2)) for k, x, y, w, h in rows]
        file.write_text("".join(f"{k:g} " + " ".join(f"{x} {y}" for x, y in xy) + "\n" for k, *xy in diamonds))
    return root


def yolo_without_yaml(root: Path, scenes: Dataset) -> Path:
    yolo_files(root, scenes, empty=True)
    write(root / "classes.txt", "\n".join(scenes.names) + "\n")
    return root


def voc_files(year: Path, scenes: Dataset) -> None:
    for image in scenes.images:
        put(image.path, year / "JPEGImages")
        objects = [
            f"<object><name>{scenes.names[k]}</name><difficult>0</difficult><bndbox><xmin>{x1 + 1}</xmin>"
            f"<ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for k, (x1, y1, x2, y2) in zip(image.class_ids, image.xyxy.round().astype(int), strict=True)
        ]
        write(
            year / "Annotations" / f"{image.path.stem}.xml",
            f"<annotation><filename>{image.path.name}</filename><size><width>{image.size[0]}</width>"
            f"<height>{image.size[1]}</height></size>{''.join(objects)}</annotation>",
        )


def voc_list(year: Path, name: str, images: list[LabeledImage] | tuple[LabeledImage, ...]) -> None:
    write(year / "ImageSets" / "Main" / f"{name}.txt", "".join(f"{i.path.stem}\n" for i in images))


def voc_devkit(root: Path, scenes: Dataset) -> Path:
    """07+12: scenes 1, 2, 5, 6 are of 2007, the last two its test set; 3, 4 of 2012, whose lists are train and val."""
    old, new = (Dataset(tuple(scenes.images[k] for k in ks), scenes.names) for ks in ((0, 1, 4, 5), (2, 3)))
    voc_files(root / "VOC2007", old)
    voc_files(root / "VOC2012", new)
    voc_list(root / "VOC2007", "trainval", old.images[:2])
    voc_list(root / "VOC2007", "train", old.images[:1])
    voc_list(root / "VOC2007", "test", old.images[2:])
    voc_list(root / "VOC2012", "train", new.images[:1])
    voc_list(root / "VOC2012", "val", new.images[1:])
    write(root / "VOC2012" / "ImageSets" / "Main" / "stop_train.txt", f"{new.images[0].path.stem} -1\n")
    write(root / "VOC2012" / "Annotations" / "of_no_list.xml", "<annotation></annotation>")
    return root


def voc_year(root: Path, scenes: Dataset) -> Path:
    """VOC2012 alone has no labeled test set: val evaluates."""
    voc_files(root / "VOC2012", scenes)
    voc_list(root / "VOC2012", "trainval", scenes.images)
    voc_list(root / "VOC2012", "train", scenes.images[:4])
    voc_list(root / "VOC2012", "val", scenes.images[4:])
    return root / "VOC2012"


def without_split_file(root: Path, scenes: Dataset) -> Path:
    product(root, scenes)
    coco = json.loads((root / "annotations.json").read_text())
    coco["images"] = [{k: v for k, v in image.items() if k != "split"} for image in coco["images"]]
    write(root / "annotations.json", json.dumps(coco))
    return root


def one_coco_file(root: Path, scenes: Dataset) -> Path:
    for image in scenes.images:
        put(image.path, root / "val2017")
    coco = scenes.to_coco()
    coco["images"] = [{k: v for k, v in image.items() if k != "split"} for image in coco["images"]]
    write(root / "annotations" / "instances_val2017.json", json.dumps(coco))
    return root


def train_is_val(root: Path, scenes: Dataset) -> Path:
    """As ultralytics' coco128."""
    yolo_files(root, scenes, by_split=False)
    write(root / "data.yaml", data_yaml(scenes, train="images", val="images"))
    return root


def flat_yolo(root: Path, scenes: Dataset) -> Path:
    yolo_files(root, scenes, by_split=False, empty=True)
    write(root / "classes.txt", "\n".join(scenes.names))
    return root


def voc_without_lists(root: Path, scenes: Dataset) -> Path:
    voc_files(root, scenes)
    return root


def voc_trainval_only(root: Path, scenes: Dataset) -> Path:
    voc_files(root, scenes)
    voc_list(root, "trainval", scenes.images)
    return root


def voc_test_only(root: Path, scenes: Dataset) -> Path:
    voc_files(root, scenes)
    voc_list(root, "test", scenes.images)
    return root


FORMATS: list[Callable[[Path, Dataset], Path]] = [
    product,
    coco_2017,
    yolo,
    yolo_yaml_elsewhere,
    yolo_lists,
    yolo_test,
    yolo_polygons,
    yolo_without_yaml,
    voc_devkit,
    voc_year,
]
"""Of which the two sides are known."""

ONE_SIDED: list[Callable[[Path, Dataset], Path]] = [
    without_split_file,
    one_coco_file,
    train_is_val,
    flat_yolo,
    voc_without_lists,
    voc_trainval_only,
    voc_test_only,
]
"""Of which no two sides are known."""

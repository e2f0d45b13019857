"""Labeled data sets as people have them on disk: COCO, YOLO and Pascal VOC, told apart by what is there."""

from __future__ import annotations

from pathlib import Path

from model.data.dataset import Dataset
from model.data.formats import coco, coco_files, voc_files, yolo, yolo_yaml
from model.data.formats.walk import folders, shown

LOOKED_FOR = (
    "a COCO file (annotations.json, result.json, labels.json, _annotations.coco.json, with the images beside it, in "
    "images/ or in data/), or annotations/instances_<split>.json with <split>/ or images/ (COCO); "
    "data.yaml or dataset.yaml, or classes.txt or obj.names with labels beside the images or in labels/ (YOLO); "
    "Annotations/ with JPEGImages/ or images/, VOC<year>/ with these, or XML beside the images (Pascal VOC)"
)


def open_directory(path: str | Path) -> Dataset:
    """The labeled data set at `path`, a directory or a file; the first of these that it holds:

    1. COCO: `annotations.json`, `annotations/instances_<split>.json`, or any file of COCO instances, as Label Studio,
       CVAT, Roboflow and FiftyOne lay them out (formats.coco_files). An image's `split`, where given, counts.
    2. `data.yaml`, `dataset.yaml` (ultralytics, Roboflow, CVAT, FiftyOne); `path` may also be such a file, or the name
       of one that ultralytics ships, "VOC.yaml" or "coco8". See `yolo_yaml.read_yaml` for downloads.
    3. `Annotations/*.xml`, `JPEGImages/` or `images/`, and perhaps `ImageSets/Main/` (Pascal VOC), or `VOC2007/`,
       `VOC2012/`, ... with these. Objects marked `difficult` are left out. See `voc_files.read_years` for the splits.
    4. `classes.txt` or `obj.names`, with the labels beside the images or in `labels/` (YOLO; labelImg, CVAT).
    5. XML beside the images (labelImg, Roboflow).

    A directory that holds nothing but one folder stands for that folder, as an unpacked archive does.

    Each image's split is "train" or the name of another, for `Dataset.pool_and_evaluation`; it is None for all images
    where the source knows no two sides. What was mended or left out is in `Dataset.notes`: show it to whoever asked.

    Raises:
        ValueError: `path` holds none of these, or files that disagree; one line that says what to do.
    """
    root = Path(path)
    if not root.exists() and (file := yolo_yaml.shipped(str(path))):
        return yolo_yaml.read_yaml(file)
    if not root.exists():
        raise ValueError(
            f"{shown(path)}: neither a directory, nor a file, nor the name of a data set that ultralytics ships; give "
            f"a directory that holds {LOOKED_FOR}"
        )
    if root.is_file():
        if root.suffix.lower() in (".yaml", ".yml"):
            return yolo_yaml.read_yaml(root)
        if root.suffix.lower() == ".json":
            return coco.read([coco_files.beside(root)])
        raise ValueError(f"{shown(path)}: a file, but no .json or .yaml; give a directory that holds {LOOKED_FOR}")
    if parts := coco_files.find(root):
        return coco.read(parts)
    if file := yolo_yaml.find(root):
        return yolo_yaml.read_yaml(file)
    if years := voc_files.years_in(root):
        return voc_files.read_years(years)
    if names := yolo.names_file(root):
        return yolo.read_directory(root, names)
    if files := voc_files.beside_pictures(root):
        return voc_files.read_beside(root, files)
    if len(inside := folders(root)) == 1:
        return open_directory(inside[0])
    raise ValueError(f"{shown(path)}: no data set; looked for {LOOKED_FOR}; give a directory that holds one of these")

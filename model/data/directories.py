"""Labeled data sets as researchers have them on disk: COCO, YOLO and Pascal VOC, told apart by what is there."""

from __future__ import annotations

from pathlib import Path

from model.data import coco, voc, yolo
from model.data.dataset import Dataset

LOOKED_FOR = (
    "annotations.json with images/, or annotations/instances_<split>.json with <split>/ (COCO); "
    "data.yaml, or classes.txt with images/ and labels/ (YOLO); "
    "Annotations/ with JPEGImages/, or VOC<year>/ with these (Pascal VOC)"
)


def open_directory(path: str | Path) -> Dataset:
    """The labeled data set at `path`; the first of these that it holds:

    1. `annotations.json` (COCO) and `images/`. An image's `split`, where given, counts.
    2. `annotations/instances_<split>.json` (COCO), with the images in `<split>/` or `images/<split>/`.
    3. `data.yaml` (ultralytics); `path` may also be such a file, or the name of one that ultralytics ships, "VOC.yaml"
       or "coco8". See `yolo.read_yaml` for downloads.
    4. `Annotations/*.xml`, `JPEGImages/` and perhaps `ImageSets/Main/` (Pascal VOC), or `VOC2007/`, `VOC2012/`, ...
       with these. Objects marked `difficult` are left out. See `voc.read_years` for the splits.
    5. `images/`, `labels/` and `classes.txt` (YOLO).

    Each image's split is "train" or the name of another, for `Dataset.pool_and_evaluation`; it is None for all images
    where the source knows no two sides.

    Raises:
        ValueError: `path` holds none of these, or files that disagree; one line that says what to do.
    """
    root = Path(path)
    if not root.exists() and (file := yolo.shipped(str(path))):
        return yolo.read_yaml(file)
    if not root.exists():
        raise ValueError(
            f"{path}: neither a directory, nor a file, nor the name of a data set that ultralytics ships; give a "
            f"directory that holds {LOOKED_FOR}"
        )
    if root.suffix in (".yaml", ".yml") and root.is_file():
        return yolo.read_yaml(root)
    if (root / "annotations.json").exists():
        return coco.read_single(root)
    if files := sorted((root / "annotations").glob("instances_*.json")):
        return coco.read_published(root, files)
    if (file := root / "data.yaml").exists():
        return yolo.read_yaml(file)
    if years := voc.years_in(root):
        return voc.read_years(years)
    if all((root / name).exists() for name in ("images", "labels", "classes.txt")):
        return yolo.read_directory(root)
    raise ValueError(f"{path}: no data set; looked for {LOOKED_FOR}; give a directory that holds one of these")

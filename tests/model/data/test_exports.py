"""What people export is read alike, whichever tool wrote it."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.data.directories import open_directory
from tests.model.data.exported import (
    NAMES,
    ONE_SIDED,
    TWO_SIDED,
    cvat_coco_splits,
    cvat_ultralytics,
    label_studio_coco,
    label_studio_voc,
    label_studio_yolo,
    labelimg_yolo,
    objects_of,
    recoded,
    ten,
)
from tests.model.written import write


def assert_the_ten(dataset: Dataset) -> None:
    want = ten()
    assert sorted(dataset.names) == sorted(want.names)
    assert dataset.class_histogram() == want.class_histogram()
    found = {image.path.stem: image for image in dataset.images}
    assert found.keys() == {image.path.stem for image in want.images}
    assert len({image.id for image in dataset.images}) == len(dataset) == 10
    for image in want.images:
        again = found[image.path.stem]
        assert again.path.is_file()
        assert again.size == image.size
        boxes, truth = objects_of(dataset, again), objects_of(want, image)
        assert [name for name, *_ in boxes] == [name for name, *_ in truth]
        np.testing.assert_allclose([box for _, *box in boxes], [box for _, *box in truth], atol=0.001)


@pytest.mark.parametrize("written", ONE_SIDED)
def test_every_export_is_read_alike(written: Callable[[Path], Path], tmp_path: Path) -> None:
    dataset = open_directory(written(tmp_path))
    assert_the_ten(dataset)
    assert {image.split for image in dataset.images} == {None}


@pytest.mark.parametrize("written", TWO_SIDED)
def test_every_export_with_splits_keeps_them(written: Callable[[Path], Path], tmp_path: Path) -> None:
    dataset = open_directory(written(tmp_path))
    assert_the_ten(dataset)
    pool, evaluation = dataset.pool_and_evaluation()
    assert sorted(image.path.stem for image in pool.images) == [f"p{k:02d}" for k in range(1, 7)]
    assert len(evaluation) == 4


def test_pictures_of_every_kind_and_labels_of_every_name(tmp_path: Path) -> None:
    root = labelimg_yolo(tmp_path)
    for name, suffix, kind in [("p01", ".tif", "TIFF"), ("p02", ".GIF", "GIF"), ("p03", ".jfif", "JPEG")]:
        recoded(root / f"{name}.png", suffix, kind)
    (root / "p05.txt").rename(root / "p05.png.txt")
    (root / "p06.txt").rename(root / "p06.TXT")
    assert_the_ten(open_directory(root))


def test_what_systems_leave_behind_is_passed_over(tmp_path: Path) -> None:
    root = label_studio_yolo(tmp_path)
    (root / "images" / "._p01.png").write_bytes(b"\0\5\x16\7")
    (root / "labels" / "._p01.txt").write_bytes(b"\0\5\x16\7")
    (root / "images" / ".ipynb_checkpoints").mkdir()
    (root / "images" / ".ipynb_checkpoints" / "p01-checkpoint.png").write_bytes((root / "images/p01.png").read_bytes())
    assert_the_ten(open_directory(root))


def test_pictures_without_labels_and_labels_without_pictures_are_said(tmp_path: Path) -> None:
    root = label_studio_yolo(tmp_path)
    (root / "labels" / "p03.txt").rename(root / "labels" / "q03.txt")
    notes = " ".join(open_directory(root).notes)
    assert "1 of 10 images have no label file" in notes
    assert "1 label files belong to no picture, the first is" in notes
    assert "q03.txt" in notes


def test_the_working_directory_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`path: .` means beside the file, even where the working directory has such images too."""

    here = cvat_ultralytics(tmp_path / "here")
    elsewhere = cvat_ultralytics(tmp_path / "elsewhere")
    monkeypatch.chdir(elsewhere)
    assert all(image.path.is_relative_to(here) for image in open_directory(here).images)


def test_the_pictures_of_a_data_yaml_may_be_listed_one_by_one(tmp_path: Path) -> None:
    root = cvat_ultralytics(tmp_path)
    listed = [f"images/train/{image.path.name}" for image in ten().images]
    (root / "data.yaml").write_text(json.dumps({"names": list(NAMES), "train": listed}))  # JSON is YAML
    assert_the_ten(open_directory(root))


def test_keypoints_of_several_splits(tmp_path: Path) -> None:
    root = cvat_coco_splits(tmp_path)
    for file in (root / "annotations").iterdir():
        file.rename(file.with_name(file.name.replace("instances", "person_keypoints")))
    dataset = open_directory(root)
    assert_the_ten(dataset)
    assert {image.split for image in dataset.images} == {"train", "val", "test"}


def ultralytics(root: Path) -> Path:
    """Folders of pictures and labels, where a missing label says that nothing is there."""
    write(label_studio_yolo(root) / "data.yaml", "train: images\nnames: [bolt, nut, washer]\n")
    return root


@pytest.mark.parametrize("kind", ["AVIF", "PPM"])
@pytest.mark.parametrize("written", [label_studio_voc, label_studio_yolo, ultralytics])
def test_pictures_of_every_format_that_is_decoded_are_found(
    written: Callable[[Path], Path], kind: str, tmp_path: Path
) -> None:
    recoded(written(tmp_path) / "images" / "p01.png", f".{kind.lower()}", kind)
    dataset = open_directory(tmp_path)
    assert (len(dataset), dataset.boxes, dataset.notes) == (10, ten().boxes, ())


@pytest.mark.parametrize("written", [label_studio_coco, label_studio_voc, label_studio_yolo, ultralytics])
def test_names_that_another_system_spells_otherwise(written: Callable[[Path], Path], tmp_path: Path) -> None:
    """macOS writes an umlaut as two letters, and Windows takes capitals for small letters."""
    for file in sorted(written(tmp_path).rglob("*.*")):
        if file.suffix in (".json", ".xml"):
            file.write_text(file.read_text().replace("p01", "süd 1"))
        if file.stem == "p01":
            name = unicodedata.normalize("NFD", "Süd 1") if file.suffix == ".png" else "süd 1"
            file.rename(file.with_stem(name))
    dataset = open_directory(tmp_path)
    assert (len(dataset), dataset.boxes, dataset.notes) == (10, ten().boxes, ())


def test_a_missing_label_says_nothing_where_labels_belong_to_no_picture(tmp_path: Path) -> None:
    """The objects of a label that was renamed are in one of the pictures without a label."""
    label = ultralytics(tmp_path) / "labels" / "p01.txt"
    label.rename(label.with_stem("p01_label"))
    dataset = open_directory(tmp_path)
    assert "p01" not in {image.path.stem for image in dataset.images}
    assert len(dataset) == 9
    assert "1 label files belong to no picture" in dataset.notes[0]
    assert "1 of 10 images have no label file and are left out" in dataset.notes[1]


@pytest.mark.parametrize("written", [label_studio_coco, label_studio_voc, label_studio_yolo, ultralytics])
def test_names_that_are_written_exactly_come_first(written: Callable[[Path], Path], tmp_path: Path) -> None:
    """Where the disk tells capitals apart, `P02` and `p02` are two pictures."""
    for file in sorted(written(tmp_path).rglob("*.*")):
        if file.suffix in (".json", ".xml"):
            file.write_text(file.read_text().replace("p01", "P02"))
        if file.stem == "p01":
            file.rename(file.with_stem("P02"))
    dataset = open_directory(tmp_path)
    assert (len(dataset), dataset.boxes, dataset.notes) == (10, ten().boxes, ())
    want = {image.path.stem: len(image.class_ids) for image in ten().images}
    found = {image.path.stem: len(image.class_ids) for image in dataset.images}
    assert (found["P02"], found["p02"]) == (want["p01"], want["p02"])

"""One small data set in every directory format: the same boxes and splits from each."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.dataset import Dataset, LabeledImage
from model.data.directories import open_directory
from tests.model.written import FORMATS, ONE_SIDED, coco_2017, side, voc_devkit, voc_year, write, yolo


def objects(dataset: Dataset, image: LabeledImage) -> list[tuple[str, list[float]]]:
    """An image's class names and boxes in an order of their own: formats differ in both orders."""
    return sorted((dataset.names[k], box) for k, box in zip(image.class_ids, image.xyxy.tolist(), strict=True))


def assert_same_objects(dataset: Dataset, scenes: Dataset) -> None:
    by_name = {image.path.name: image for image in dataset.images}
    assert by_name.keys() == {image.path.name for image in scenes.images}
    assert len(dataset) == len(scenes)
    for image in scenes.images:
        again = by_name[image.path.name]
        assert again.path.exists()
        assert again.size == image.size
        want, have = objects(scenes, image), objects(dataset, again)
        assert [name for name, _ in have] == [name for name, _ in want]
        for (_, box), (_, truth) in zip(have, want, strict=True):
            np.testing.assert_allclose(box, truth, atol=1)


@pytest.mark.parametrize("written", FORMATS)
def test_every_format_gives_the_same_boxes_and_sides(
    written: Callable[[Path, Dataset], Path], scenes: Dataset, tmp_path: Path
) -> None:
    dataset = open_directory(written(tmp_path, scenes))
    assert_same_objects(dataset, scenes)
    assert len({image.id for image in dataset.images}) == len(scenes)
    pool, evaluation = dataset.pool_and_evaluation()
    assert {image.path.name for image in pool.images} == {i.path.name for i in scenes.images[:4]}
    assert {image.path.name for image in evaluation.images} == {i.path.name for i in scenes.images[4:]}


@pytest.mark.parametrize("written", FORMATS[2:])
def test_formats_without_ids_number_the_images_in_order(
    written: Callable[[Path, Dataset], Path], scenes: Dataset, tmp_path: Path
) -> None:
    dataset = open_directory(written(tmp_path, scenes))
    assert [image.id for image in dataset.images] == [1, 2, 3, 4, 5, 6]
    assert [image.path for image in dataset.images] == sorted(image.path for image in dataset.images)


def test_coco_keeps_its_ids_and_may_have_its_images_below_images(scenes: Dataset, tmp_path: Path) -> None:
    dataset = open_directory(coco_2017(tmp_path, scenes, images="images"))
    assert [(image.id, image.split) for image in dataset.images] == [(i.id, side(i)) for i in scenes.images]
    assert dataset.images[0].path.parent == tmp_path / "images" / "train2017"
    assert dataset.fingerprint() == scenes.fingerprint()


def test_a_relative_path_works(scenes: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for written in (coco_2017, voc_year, yolo):
        (tmp_path / written.__name__).mkdir()
        place = written(tmp_path / written.__name__, scenes).relative_to(tmp_path)
        monkeypatch.chdir(tmp_path)
        assert_same_objects(open_directory(place), scenes)
        assert_same_objects(open_directory(str(place)), scenes)


@pytest.mark.parametrize("written", ONE_SIDED)
def test_where_the_source_knows_no_two_sides_a_stable_quarter_evaluates(
    written: Callable[[Path, Dataset], Path], scenes: Dataset, tmp_path: Path
) -> None:
    dataset = open_directory(written(tmp_path, scenes))
    assert_same_objects(dataset, scenes)
    assert [(image.id, image.split) for image in dataset.images] == [(k, None) for k in range(1, 7)]
    pool, evaluation = dataset.pool_and_evaluation()
    assert [i.id for i in pool.images] == [1, 2, 3, 6]
    assert [i.id for i in evaluation.images] == [4, 5]


def test_voc_names_its_test_split_and_orders_by_year(scenes: Dataset, tmp_path: Path) -> None:
    dataset = open_directory(voc_devkit(tmp_path, scenes))
    assert [(i.id, i.path.parents[1].name, i.split) for i in dataset.images] == [
        (1, "VOC2007", "train"),
        (2, "VOC2007", "train"),
        (3, "VOC2007", "test"),
        (4, "VOC2007", "test"),
        (5, "VOC2012", "train"),
        (6, "VOC2012", "train"),
    ]


def test_voc_leaves_difficult_objects_out(scenes: Dataset, tmp_path: Path) -> None:
    voc_year(tmp_path, scenes)
    file = next(f for f in sorted((tmp_path / "VOC2012" / "Annotations").glob("*.xml")) if "<object>" in f.read_text())
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))
    dataset = open_directory(tmp_path)
    assert file.stem not in {image.path.stem for image in dataset.images}  # it is no background
    assert len(dataset) == 5
    notes = " ".join(dataset.notes)
    assert f"{file.stem}.jpg: all of its objects are marked `difficult`" in notes
    assert re.search(r"\d+ objects marked `difficult` are left out", notes)


def test_pose_labels_keep_the_box_and_drop_the_keypoints(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (100, 50)).save(tmp_path / "images" / "a.png")
    write(tmp_path / "labels" / "a.txt", "0 .5 .5 .2 .4 .1 .1 .9 .9\n")
    write(
        tmp_path / "data.yaml", json.dumps({"train": "images", "val": "images", "names": ["dog"], "kpt_shape": [2, 2]})
    )
    np.testing.assert_allclose(open_directory(tmp_path).images[0].xyxy, [[40, 15, 60, 35]], atol=1e-5)

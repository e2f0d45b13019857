"""Pictures that EXIF turns, declared as they are stored: boxes of either frame, told apart by the boxes themselves."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from model.data.directories import open_directory
from model.data.formats.turned import upright
from model.data.images import load_image
from tests.model.data.pictures import write_picture

STORED = (100, 60)
WIDE, TALL, SMALL = [60, 10, 30, 20], [10, 60, 20, 30], [10, 10, 20, 20]  # fit: as stored, as displayed, both


def coco(root: Path, *boxes: list[int], orientation: int = 6, contributor: str = "") -> Path:
    entries = [{"id": k, "file_name": f"{k}.jpg", "width": 100, "height": 60} for k, _ in enumerate(boxes)]
    annotations = [{"id": k, "image_id": k, "category_id": 0, "bbox": box} for k, box in enumerate(boxes)]
    for k, _ in enumerate(boxes):
        write_picture(root / f"{k}.jpg", *STORED, orientation=orientation)
    content = {"images": entries, "annotations": annotations, "categories": [{"id": 0, "name": "cat"}]}
    (root / "x.json").write_text(json.dumps(content | {"info": {"contributor": contributor}}))
    return root


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_the_stored_picture_are_turned_with_it(orientation: int, tmp_path: Path) -> None:
    """The box is where the turned pixels are."""
    stored = np.zeros((STORED[1], STORED[0], 3), np.uint8)
    stored[10:30, 60:90] = 255
    coco(tmp_path, WIDE, orientation=orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "0.jpg", exif=exif, quality=100)
    (image,) = open_directory(tmp_path).images
    assert image.size == (60, 100)
    rows, columns = np.nonzero(load_image(image.path)[..., 0] > 128)
    assert image.xyxy.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    upside = ImageOps.exif_transpose(Image.open(tmp_path / "0.jpg"))
    assert upside.size == image.size


def test_one_picture_tells_for_all_of_a_file(tmp_path: Path) -> None:
    dataset = open_directory(coco(tmp_path, WIDE, SMALL))
    assert [image.xyxy.tolist() for image in dataset.images] == [[[30, 60, 50, 90]], [[30, 10, 50, 30]]]
    assert "2 of 2 images are declared in the size before EXIF turns them" in dataset.notes[0]


def test_boxes_of_the_displayed_picture_stay(tmp_path: Path) -> None:
    dataset = open_directory(coco(tmp_path, TALL, SMALL))
    assert [image.xyxy.tolist() for image in dataset.images] == [[[10, 60, 30, 90]], [[10, 10, 30, 30]]]


def test_label_studio_draws_on_the_displayed_picture(tmp_path: Path) -> None:
    dataset = open_directory(coco(tmp_path, SMALL, contributor="Label Studio"))
    assert dataset.images[0].xyxy.tolist() == [[10, 10, 30, 30]]


@pytest.mark.parametrize("boxes", [[SMALL, SMALL], [WIDE, TALL]], ids=["fit both ways", "contradict each other"])
def test_where_nothing_tells_they_are_not_used(boxes: list[list[int]], tmp_path: Path) -> None:
    coco(tmp_path, *boxes)
    with pytest.raises(ValueError, match=r"0\.jpg: declared as 100 x 60 pixels, its size before EXIF turns it"):
        open_directory(tmp_path)


def test_corners_in_the_wrong_order_stay_so_until_they_are_checked() -> None:
    assert upright([[30, 25, 10, 20]], (100, 50), 6) == [[30, 30, 25, 10]]
    assert upright([[30, 25, 10, 20]], (100, 50), 8) == [[25, 90, 20, 70]]

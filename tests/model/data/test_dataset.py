"""Data sets: three formats, the stable holdout, the fingerprint."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.data.dataset import Dataset, LabeledImage, in_holdout
from tests.shared import SHARED, needs_shared


def small() -> Dataset:
    """Three images, two classes, one crowd region."""
    return Dataset(
        (
            LabeledImage(
                3,
                Path("images/a.jpg"),
                (100, 80),
                np.array([[10, 20, 40, 60], [0.5, 0.25, 99.5, 79.75]], np.float32),
                np.array([1, 0]),
                np.array([False, True]),
                split="train",
            ),
            LabeledImage(5, Path("images/b.jpg"), (64, 48)),
            LabeledImage(9, Path("images/c.jpg"), (50, 50), np.array([[1, 2, 3, 4]], np.float32), np.array([1])),
        ),
        ("cat", "dog"),
    )


def test_image_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="image 4: 1 boxes but 2 classes"):
        LabeledImage(4, Path("x"), (1, 1), np.zeros((1, 4), np.float32), np.zeros(2, np.int64))


def test_coco_round_trip() -> None:
    coco = json.loads(json.dumps(small().to_coco()))
    back = Dataset.from_coco(coco, "images")
    assert back.names == ("cat", "dog")
    for image, again in zip(small().images, back.images, strict=True):
        assert (again.id, again.path, again.size, again.split) == (image.id, image.path, image.size, image.split)
        np.testing.assert_array_equal(again.xyxy, image.xyxy)
        np.testing.assert_array_equal(again.class_ids, image.class_ids)
        np.testing.assert_array_equal(again.crowd, image.crowd)
    assert back.fingerprint() == small().fingerprint()
    assert [a["id"] for a in coco["annotations"]] == [1, 2, 3]
    assert coco["annotations"][0]["bbox"] == [10, 20, 30, 40]
    assert coco["annotations"][0]["area"] == 1200


def test_coco_from_a_file_with_gaps_between_category_ids(tmp_path: Path) -> None:
    coco = {
        "images": [{"id": 1, "file_name": "sub/x.jpg", "width": 10, "height": 20}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 90, "bbox": [1, 2, 3, 4]},
            {"id": 2, "image_id": 1, "category_id": 7, "bbox": [0, 0, 1, 1], "iscrowd": 1},
        ],
        "categories": [{"id": 90, "name": "b"}, {"id": 7, "name": "a"}],
    }
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    found = Dataset.from_coco(tmp_path / "instances.json", tmp_path)
    assert found.names == ("a", "b")
    assert found.images[0].class_ids.tolist() == [1, 0]
    assert found.images[0].xyxy.tolist() == [[1, 2, 4, 6], [0, 0, 1, 1]]
    assert found.images[0].crowd.tolist() == [False, True]
    assert found.images[0].path == tmp_path / "sub/x.jpg"


def test_coco_with_an_unknown_category_is_refused() -> None:
    coco = small().to_coco()
    coco["annotations"][1]["category_id"] = 44
    with pytest.raises(ValueError, match=r"annotation 2: category_id 44 is not among .*\[1, 2\]"):
        Dataset.from_coco(coco, "images")


@needs_shared
@pytest.mark.parametrize(
    ("name", "images", "splits", "histogram"),
    [
        ("bccd", 364, {"train": 205, "val": 87, "test": 72}, {"Platelets": 361, "RBC": 4153, "WBC": 372}),
        (
            "cards",
            363,
            {"train": 296, "test": 67},
            {"ace": 118, "jack": 113, "king": 118, "nine": 115, "queen": 106, "ten": 100},
        ),
    ],
)
def test_coco_counts_of_real_sets(name: str, images: int, splits: dict, histogram: dict) -> None:
    found = Dataset.from_coco(SHARED / "data" / name / "annotations.json", SHARED / "data" / name / "images")
    assert len(found) == images
    assert found.class_histogram() == histogram
    assert {split: sum(i.split == split for i in found.images) for split in splits} == splits
    for image in found.images:
        assert image.path.exists()
        assert (image.xyxy >= 0).all()
        assert (image.xyxy <= np.array([*image.size, *image.size]) + 0.01).all()


def write_picture(path: Path, width: int, height: int, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (width, height)).save(path, exif=exif)


def yolo(root: Path, labels: dict[str, str]) -> Dataset:
    for name, text in labels.items():
        (root / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "labels" / name).write_text(text)
    return Dataset.from_yolo(root / "images", root / "labels", ["cat", "dog"])


def test_yolo(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "b.jpg", 100, 50)
    write_picture(tmp_path / "images" / "a.png", 40, 40)
    write_picture(tmp_path / "images" / "more" / "c.JPEG", 100, 50, orientation=6)
    (tmp_path / "images" / "notes.txt").write_text("no picture")
    found = yolo(
        tmp_path,
        {"b.txt": "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.2 0.2 0.87\n", "more/c.txt": "0 0.5 0.25 1.0 0.5\n"},
    )
    assert [(i.id, i.path.name, i.size) for i in found.images] == [
        (1, "a.png", (40, 40)),
        (2, "b.jpg", (100, 50)),
        (3, "c.JPEG", (50, 100)),
    ]
    assert len(found.images[0].class_ids) == 0
    np.testing.assert_allclose(found.images[1].xyxy, [[40, 15, 60, 35], [0, 0, 20, 10]], atol=1e-5)
    assert found.images[1].class_ids.tolist() == [1, 0]
    np.testing.assert_allclose(found.images[2].xyxy, [[0, 0, 50, 50]], atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 0.5 0.5 0.1 0.1", "line 1: class 2, but only 2 names"),
        ("-1 0.5 0.5 0.1 0.1", "class -1"),
        ("0.5 0.5 0.5 0.1 0.1", "class 0.5"),
        ("0 0.5 0.5 0.1 0.1\n0 0.5 0.5", "line 2: 3 numbers"),
        ("0 .1 .1 .2 .1 .2 .2 .1", "line 1: 8 numbers"),
        ("0 half 0.5 0.1 0.1", "no number"),
    ],
)
def test_yolo_labels_that_are_no_boxes_are_refused(text: str, message: str, tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.png", 40, 40)
    with pytest.raises(ValueError, match=rf"a\.txt.*{message}"):
        yolo(tmp_path, {"a.txt": text})


def test_yolo_polygons_become_the_boxes_around_them(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.png", 100, 50)
    found = yolo(tmp_path, {"a.txt": "1 .1 .4 .2 .2 .4 .8\n0 .1 .1 .2 .1 .2 .2 .1 .2\n0 .5 .5 .2 .2\n"})
    np.testing.assert_allclose(found.images[0].xyxy, [[10, 10, 40, 40], [10, 5, 20, 10], [40, 20, 60, 30]], atol=1e-5)
    assert found.images[0].class_ids.tolist() == [1, 0, 0]


VOC = """<annotation><filename>{file}</filename>{size}
<object><name>dog</name><difficult>0</difficult>
  <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>60</xmax><ymax>40</ymax></bndbox></object>
<object><name>cat</name><difficult>1</difficult>
  <bndbox><xmin>5</xmin><ymin>5</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
<object><name>bird</name>
  <bndbox><xmin>11</xmin><ymin>21</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>
</annotation>"""


def test_voc_counts_pixels_from_one_and_leaves_difficult_out(tmp_path: Path) -> None:
    size = "<size><width>60</width><height>40</height><depth>3</depth></size>"
    (tmp_path / "a.xml").write_text(VOC.format(file="a.jpg", size=size))
    found = Dataset.from_voc(tmp_path, tmp_path)
    assert found.names == ("bird", "dog")  # the only cat is difficult
    (image,) = found.images
    assert (image.id, image.path, image.size) == (1, tmp_path / "a.jpg", (60, 40))
    assert image.class_ids.tolist() == [1, 0]
    # 1..60 of 60 pixels is the whole width: 0 to 60; pixels 11..30 are twenty wide
    assert image.xyxy.tolist() == [[0, 0, 60, 40], [10, 20, 30, 40]]


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>"])
def test_voc_without_a_size_asks_the_picture(size: str, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", 60, 40)
    (tmp_path / "a.xml").write_text(VOC.format(file="a.jpg", size=size))
    assert Dataset.from_voc(tmp_path, tmp_path).images[0].size == (60, 40)


def test_voc_without_corners_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(VOC.format(file="a.jpg", size="").replace("<xmin>1</xmin>", ""))
    with pytest.raises(ValueError, match=r"a\.xml: an object without xmin"):
        Dataset.from_voc(tmp_path, tmp_path)


def numbered(count: int) -> Dataset:
    return Dataset(tuple(LabeledImage(k, Path(f"{k}.jpg"), (1, 1)) for k in range(1, count + 1)), ("a",))


def test_holdout_is_a_fifth_and_a_partition() -> None:
    everything = numbered(5000)
    train, held = everything.holdout()
    assert len(held) / len(everything) == pytest.approx(0.2, abs=0.015)
    assert {i.id for i in train.images} | {i.id for i in held.images} == {i.id for i in everything.images}
    assert len(train) + len(held) == len(everything)


def test_holdout_never_moves_an_image_when_more_are_labeled() -> None:
    few, many = numbered(200).holdout()[1], numbered(2000).holdout()[1]
    assert [i.id for i in few.images] == [i.id for i in many.images if i.id <= 200]


def test_holdout_is_the_same_in_every_release() -> None:
    """Written down once: an image that changes sides would have been trained on and then measured on."""
    assert [k for k in range(1, 41) if in_holdout(k)] == [4, 7, 8, 17, 24, 28, 33, 38, 40]


def test_subset_keeps_the_order_and_names_what_is_missing() -> None:
    assert [i.id for i in small().subset([9, 3]).images] == [3, 9]
    with pytest.raises(KeyError, match=r"images \[4\] are not in this data set of 3 images"):
        small().subset([3, 4])


def test_class_histogram_lists_every_class() -> None:
    assert small().class_histogram() == {"cat": 1, "dog": 2}
    assert Dataset((), ("a", "b")).class_histogram() == {"a": 0, "b": 0}


def with_first(dataset: Dataset, **changes: object) -> Dataset:
    return Dataset((dataclasses.replace(dataset.images[0], **changes), *dataset.images[1:]), dataset.names)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        lambda d: Dataset(d.images, ("cat", "cow")),
        lambda d: Dataset(d.images, ("dog", "cat")),
        lambda d: Dataset(d.images[:-1], d.names),
        lambda d: with_first(d, id=4),
        lambda d: with_first(d, size=(100, 81)),
        lambda d: with_first(d, xyxy=d.images[0].xyxy + np.float32(0.01)),
        lambda d: with_first(d, class_ids=np.array([0, 0])),
        lambda d: with_first(d, crowd=np.array([False, False])),
        lambda d: with_first(
            d, xyxy=d.images[0].xyxy[:1], class_ids=d.images[0].class_ids[:1], crowd=d.images[0].crowd[:1]
        ),
    ],
    ids=["name", "order of names", "image", "id", "size", "corner", "class", "crowd", "box"],
)
def test_fingerprint_changes_with_what_is_learnt(change: Callable[[Dataset], Dataset]) -> None:
    assert change(small()).fingerprint() != small().fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        lambda d: Dataset(d.images[::-1], d.names),
        lambda d: with_first(d, path=Path("/elsewhere/a.jpg")),
        lambda d: with_first(d, split="val"),
        lambda d: with_first(d, xyxy=d.images[0].xyxy.astype(np.float64)),
        lambda d: with_first(d, class_ids=d.images[0].class_ids.astype(np.int32)),
    ],
    ids=["order", "path", "split", "float64", "int32"],
)
def test_fingerprint_ignores_what_is_not_learnt(change: Callable[[Dataset], Dataset]) -> None:
    assert change(small()).fingerprint() == small().fingerprint()
    assert len(small().fingerprint()) == 64

"""Data sets: three formats, the stable holdout, the fingerprint."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

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
    dataset = Dataset.from_coco(tmp_path / "instances.json", tmp_path)
    assert dataset.names == ("a", "b")
    assert dataset.images[0].class_ids.tolist() == [1, 0]
    assert dataset.images[0].xyxy.tolist() == [[1, 2, 4, 6], [0, 0, 1, 1]]
    assert dataset.images[0].crowd.tolist() == [False, True]
    assert dataset.images[0].path == tmp_path / "sub/x.jpg"


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
    dataset = Dataset.from_coco(SHARED / "data" / name / "annotations.json", SHARED / "data" / name / "images")
    assert len(dataset) == images
    assert dataset.class_histogram() == histogram
    assert dataset.boxes == sum(histogram.values())
    assert {split: sum(i.split == split for i in dataset.images) for split in splits} == splits
    for image in dataset.images:
        assert image.path.exists()
        assert (image.xyxy >= 0).all()
        assert (image.xyxy <= np.array([*image.size, *image.size]) + 0.01).all()


def numbered(count: int) -> Dataset:
    return Dataset(tuple(LabeledImage(k, Path(f"{k}.jpg"), (1, 1)) for k in range(1, count + 1)), ("a",))


def test_holdout_is_a_fifth_and_a_partition() -> None:
    everything = numbered(5000)
    train, holdout = everything.holdout()
    assert len(holdout) / len(everything) == pytest.approx(0.2, abs=0.015)
    assert {i.id for i in train.images} | {i.id for i in holdout.images} == {i.id for i in everything.images}
    assert len(train) + len(holdout) == len(everything)


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


def test_boxes_are_counted_with_crowds() -> None:
    assert small().boxes == 3
    assert small().subset([5]).boxes == Dataset((), ("a",)).boxes == 0


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

"""Files that others wrote, with what is wrong in them: mended and said, or refused in one line that names the place.

Each case changes one thing of the ten pictures. What cannot be used leaves its picture out: never is it background.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from model.data.dataset import Dataset
from model.data.directories import open_directory
from tests.model.data.exported import (
    cvat_coco_splits,
    cvat_ultralytics,
    label_studio_coco,
    label_studio_voc,
    label_studio_yolo,
    ten,
)

BOXES = ten().boxes


def coco(root: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    file = label_studio_coco(root) / "result.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    return root


def yolo(root: Path, line: str) -> Path:
    """The first object of p01 is this line."""
    label_studio_yolo(root).joinpath("labels", "p01.txt").write_text(line + "\n")
    return root


def voc(root: Path, pattern: str, by: str) -> Path:
    file = label_studio_voc(root) / "Annotations" / "p01.xml"
    file.write_text(re.sub(pattern, by, file.read_text(), count=1, flags=re.DOTALL))
    return root


IN_FRACTIONS = "<xmin>.05</xmin><ymin>.1</ymin><xmax>.2</xmax><ymax>.5</ymax>"
NO_VOC = "p01.xml: its root is <annotations>, not <annotation>"
NO_OBJECT = "p01.xml: draws something, but has no <object>"


def boxes_of(dataset: Dataset, stem: str) -> list[list[float]]:
    return next(image for image in dataset.images if image.path.stem == stem).xyxy.tolist()


def refused(place: Path) -> str:
    with pytest.raises(ValueError, match=re.escape(str(place))) as caught:
        open_directory(place)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def first(**changes: Any) -> Callable[[dict[str, Any]], object]:
    """A change of the first annotation, which is the only one of p01."""
    return lambda content: content["annotations"][0].update(changes)


@pytest.mark.parametrize(
    ("written", "box", "said"),
    [
        (lambda r: coco(r, first(bbox=[-20, 10, 60, 30])), [0, 10, 40, 40], "reached beyond"),
        (lambda r: coco(r, first(bbox=[40, 40, -30, -30])), [10, 10, 40, 40], "had corners in the wrong order"),
        (lambda r: yolo(r, "1 .1 .5 .4 .5"), [0, 20, 30, 60], "reached beyond"),
        (lambda r: yolo(r, "1 .5 .5 -.2 .5"), [40, 20, 60, 60], "had corners in the wrong order"),
        (lambda r: voc(r, "<xmax>[^<]*", "<xmax>900"), [5, 11, 100, 41], "reached beyond"),
        (lambda r: voc(r, "<xmin>[^<]*", "<xmin>51"), [14, 11, 51, 41], "had corners in the wrong order"),
    ],
)
def test_boxes_are_mended_in_every_format(
    written: Callable[[Path], Path], box: list[float], said: str, tmp_path: Path
) -> None:
    dataset = open_directory(written(tmp_path))
    assert boxes_of(dataset, "p01") == [pytest.approx(box, abs=0.01)]
    assert len(dataset) == 10
    (note,) = dataset.notes
    assert f"1 of {BOXES} boxes {said}" in note
    assert "p01.png" in note


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (lambda r: coco(r, first(bbox=[10, 10, 0, 30])), "none of its boxes has an area"),
        (lambda r: coco(r, first(bbox=[10, 10, float("inf"), 30])), "has the corners"),
        (lambda r: coco(r, first(bbox=[10, 10, float("nan"), 30])), "has the corners"),
        (lambda r: coco(r, first(bbox=[])), "annotation 1: bbox is"),
        (lambda r: coco(r, first(bbox=None)), "annotation 1: bbox is None"),
        (lambda r: coco(r, first(bbox=["a", 1, 2, 3])), "annotation 1: bbox.0 is 'a'"),
        (lambda r: coco(r, first(category_id=44)), "annotation 1: category_id 44 is not among"),
        (lambda r: coco(r, first(bbox=[0.05, 0.1, 0.2, 0.5])), "a fraction of the picture where pixels are due"),
        (
            lambda r: coco(r, first(bbox=None, segmentation=[[5, 11, 15, 11, 15, 41], ["a", 3]])),
            "annotation 1: bbox is",
        ),
        (lambda r: coco(r, first(iscrowd="maybe")), "annotation 1: iscrowd is 'maybe'"),
        (lambda r: coco(r, lambda c: c["images"][0].update(width=80, height=100)), "declared as 80 x 100 pixels"),
        (
            lambda r: coco(r, lambda c: c["images"][0].update(file_name=None)),
            "1 images cannot be read, the first is entry 1: file_name is None",
        ),
        (lambda r: yolo(r, "1 50 40 20 30"), "p01.txt, line 1: 50 is no fraction"),
        (lambda r: yolo(r, "1 nan .5 .2 .2"), "has the corners"),
        (lambda r: yolo(r, "1 0,5 0,5 0,2 0,2"), "p01.txt, line 1: '1 0,5 0,5 0,2 0,2' holds something"),
        (lambda r: yolo(r, "9 .5 .5 .2 .2"), "class 9, but only 3 names"),
        (lambda r: yolo(r, "1 .5 .5 0 .2"), "none of its boxes has an area"),
        (lambda r: voc(r, "<xmin>[^<]*", "<xmin>left"), "p01.xml: xmin is 'left', which is no number"),
        (lambda r: voc(r, "<xmin>[^<]*", "<xmin>"), "p01.xml: an object without xmin"),
        (lambda r: voc(r, "<name>[^<]*", "<name>"), "p01.xml: an object without a name"),
        (lambda r: voc(r, "</annotation>", ""), "p01.xml: not readable as XML"),
        (lambda r: voc(r, "<xmin>.*?</ymax>", IN_FRACTIONS), "a fraction of the picture where pixels are due"),
        (lambda r: voc(r, ".*", '<annotations><image name="p01.png"><box xtl="1"/></image></annotations>'), NO_VOC),
        (lambda r: voc(r, ".*", "<html><body/></html>"), "p01.xml: its root is <html>, not <annotation>"),
        (lambda r: voc(r, "<object>(.*)</object>", r"<objects><item>\1</item></objects>"), NO_OBJECT),
        (lambda r: voc(r, "<object>.*</object>", "<shape><points>1 2 3 4</points></shape>"), NO_OBJECT),
        (lambda r: voc(r, "<difficult>0", "<difficult>1"), "p01.png: all of its objects are marked `difficult`"),
    ],
)
def test_what_cannot_be_used_is_named_and_leaves_its_picture_out(
    written: Callable[[Path], Path], said: str, tmp_path: Path
) -> None:
    dataset = open_directory(written(tmp_path))
    assert {image.path.stem for image in dataset.images} == {f"p{k:02d}" for k in range(2, 11)}
    assert said in " ".join(dataset.notes)


@pytest.mark.parametrize(
    ("change", "box"),
    [
        (first(bbox=["5", "11", "10", "30"], category_id="2", image_id="0", iscrowd="0"), [5, 11, 15, 41]),
        (first(bbox=None, segmentation=[[5, 11, 15, 11, 15, 41]]), [5, 11, 15, 41]),
        (first(bbox=[0, 0, 0, 0], segmentation=[[5, 11, 15, 11, 15, 41]]), [5, 11, 15, 41]),
        (lambda c: c["images"][0].update(width=None, height=None), [5, 11, 15, 41]),
        (lambda c: c["images"][0].update(width="100", height="80"), [5, 11, 15, 41]),
        (lambda c: c["images"][0].update(id="0"), [5, 11, 15, 41]),
    ],
)
def test_coco_is_read_where_the_meaning_is_sure(change: Callable[[dict], object], box: list, tmp_path: Path) -> None:
    dataset = open_directory(coco(tmp_path, change))
    assert boxes_of(dataset, "p01") == [box]
    assert not any(image.crowd.any() for image in dataset.images)
    assert dataset.notes == ()


@pytest.mark.parametrize("number", ["80.0", " 80 ", "8e1"])
def test_voc_numbers_are_read_as_written(number: str, tmp_path: Path) -> None:
    dataset = open_directory(voc(tmp_path, "<xmax>[^<]*", f"<xmax>{number}"))
    assert boxes_of(dataset, "p01")[0][2] == 80


def test_voc_in_an_encoding_of_its_own(tmp_path: Path) -> None:
    file = label_studio_voc(tmp_path) / "Annotations" / "p01.xml"
    text = re.sub("<name>[^<]*", "<name>螺母", file.read_text())
    file.write_bytes(('<?xml version="1.0" encoding="GBK"?>' + text).encode("gbk"))
    assert "螺母" in open_directory(tmp_path).names


def test_sizes_of_the_same_shape_are_scaled_and_said(tmp_path: Path) -> None:
    label_studio_coco(tmp_path)
    for file in (tmp_path / "images").glob("*.png"):
        with Image.open(file) as image:
            image.resize((image.width // 2, image.height // 2)).save(file)
    dataset = open_directory(tmp_path)
    assert boxes_of(dataset, "p01") == [[2.5, 5.5, 7.5, 20.5]]
    assert "10 of 10 images have another size than declared; boxes were scaled" in dataset.notes[0]


def test_pictures_of_crowds_only_are_said(tmp_path: Path) -> None:
    dataset = open_directory(coco(tmp_path, first(iscrowd=1)))
    assert (len(dataset), dataset.boxes) == (10, BOXES)  # they are evaluated on
    (note,) = dataset.notes
    assert "1 of 10 images hold nothing but crowds" in note
    assert "p01.png" in note


def test_the_same_box_twice_counts_once(tmp_path: Path) -> None:
    dataset = open_directory(coco(tmp_path, lambda c: c["annotations"].append(c["annotations"][0] | {"id": 99})))
    assert dataset.boxes == BOXES
    assert f"1 of {BOXES + 1} boxes were there twice" in dataset.notes[0]


def test_a_picture_that_is_listed_twice_is_not_used(tmp_path: Path) -> None:
    """As of a task that two people annotated, where nothing says whose boxes are right."""
    dataset = open_directory(coco(tmp_path, lambda c: c["images"].append(c["images"][0] | {"id": 99})))
    assert {image.path.stem for image in dataset.images} == {f"p{k:02d}" for k in range(2, 11)}
    assert "1 images are listed twice, the first is" in dataset.notes[0]


def test_what_cannot_be_read_is_counted_in_one_line(tmp_path: Path) -> None:
    dataset = open_directory(coco(tmp_path, lambda c: [i.update(file_name=7) for i in c["images"][:2]]))
    assert len(dataset) == 8
    (note,) = dataset.notes
    assert "2 images cannot be read, the first is entry 1: file_name is 7" in note


@pytest.mark.parametrize(
    "name",
    ["x" * 5000, "a\0b.png", "\ud800.png", "data:image/png;base64," + "A" * 9000],
    ids=["long", "0", "half", "data"],
)
def test_names_that_no_file_can_have_are_missing_files(name: str, tmp_path: Path) -> None:
    dataset = open_directory(coco(tmp_path, lambda c: c["images"][0].update(file_name=name)))
    assert len(dataset) == 9
    (note,) = dataset.notes
    note.encode()
    assert "1 of 10 images are missing, the first is" in note or "1 images cannot be read" in note


@pytest.mark.parametrize("number", ["9" * 5000, '"' + "9" * 5000 + '"'])
def test_numbers_of_5000_digits_are_one_line_or_text(number: str, tmp_path: Path) -> None:
    """Python itself reads no such numbers."""
    file = label_studio_coco(tmp_path) / "result.json"
    file.write_text(file.read_text().replace('"id": 0,', f'"id": {number},', 1))
    if number.startswith('"'):
        assert "1 annotations are of images that are not listed" in open_directory(tmp_path).notes[0]
    else:
        assert "result.json: not readable as JSON" in refused(tmp_path)


@pytest.mark.parametrize("other", [lambda k: f"a{k}", lambda k: k + 2**63, lambda k: k - 2**63])
def test_ids_that_cannot_be_kept_are_numbered_anew_and_said(other: Callable[[int], object], tmp_path: Path) -> None:
    def rename(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["id"] = other(image["id"])
        for annotation in content["annotations"]:
            annotation["image_id"] = other(annotation["image_id"])

    dataset = open_directory(coco(tmp_path, rename))
    assert [image.id for image in dataset.images] == list(range(1, 11))
    assert "numbered anew" in dataset.notes[0]


def shifted(root: Path) -> Path:
    return coco(root, lambda c: [a.update(bbox=[500 + k, 10, 20, 20]) for k, a in enumerate(c["annotations"])])


def in_fractions(content: dict[str, Any]) -> None:
    size = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for annotation in content["annotations"]:
        sides = size[annotation["image_id"]] * 2
        annotation["bbox"] = [value / side for value, side in zip(annotation["bbox"], sides, strict=True)]


def in_pixels(root: Path) -> Path:
    for label in (label_studio_yolo(root) / "labels").glob("*.txt"):
        label.write_text("1 50 40 20 30\n")
    return root


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (shifted, "cannot be used"),
        (in_pixels, "10 of 10 images cannot be used, the first is .*p01.txt, line 1: 50 is no fraction"),
        (lambda r: coco(r, lambda c: [i.update(width=80, height=100) for i in c["images"]]), "declared as 80 x 100"),
        (lambda r: coco(r, in_fractions), "a fraction of the picture where pixels are due, multiply"),
        (lambda r: coco(r, lambda c: c.update(images=None)), "'images' is None where a list was expected"),
        (lambda r: coco(r, lambda c: c.update(images=[])), "lists no images|not listed"),
        (lambda r: coco(r, lambda c: [a.update(iscrowd=1) for a in c["annotations"]]), "every one of .* is a crowd"),
        (lambda r: coco(r, lambda c: c["categories"][1].update(name="bolt")), "two classes are named 'bolt'"),
        (lambda r: coco(r, lambda c: c["categories"][1].update(name=None)), "category 2: name is None"),
        (lambda r: coco(r, lambda c: c["images"][0].update(split="extra")), "the split 'extra' is not known"),
    ],
)
def test_what_is_wrong_throughout_is_refused(written: Callable[[Path], Path], said: str, tmp_path: Path) -> None:
    assert re.search(said, refused(written(tmp_path)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"bolt\n\nnut\nwasher\n", r"classes\.txt, line 2: blank"),
        (b"bolt\nnut\nbolt\n", r"classes\.txt: two classes are named 'bolt'"),
        (b"bolt\nm\xfctter\nwasher\n", r"classes\.txt, line 2: not UTF-8"),
        (b"\n", r"classes\.txt: names no class"),
    ],
)
def test_class_lists_that_are_not_sure_are_refused(text: bytes, said: str, tmp_path: Path) -> None:
    (label_studio_yolo(tmp_path) / "classes.txt").write_bytes(text)
    assert re.search(said, refused(tmp_path))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_class_lists_in_the_encodings_of_windows(encoding: str, tmp_path: Path) -> None:
    (label_studio_yolo(tmp_path) / "classes.txt").write_text("bolt\nMütter\nwasher\n\n\n", encoding=encoding)
    assert open_directory(tmp_path).names == ("bolt", "Mütter", "washer")


def test_names_in_yaml_stay_text(tmp_path: Path) -> None:
    file = cvat_ultralytics(tmp_path) / "data.yaml"
    file.write_text("path: .\ntrain: train.txt\nnames: [no, yes, 1.0]\n")
    assert open_directory(tmp_path).names == ("no", "yes", "1.0")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("path: .\n\ttrain: train.txt\nnames: [a, b, c]\n", "not readable as YAML .* indent with blanks"),
        ("- a\n", "no entries"),
        ("train: train.txt\nnames: 7\n", "`names` is '7'"),
        ("train: train.txt\nnames: [a, b, a]\n", "two classes are named 'a'"),
        ("train: train.txt\nnc: 4\nnames: [a, b, c]\n", "3 `names`, but `nc` is 4"),
    ],
)
def test_yaml_that_cannot_be_read_is_one_line(text: str, said: str, tmp_path: Path) -> None:
    file = cvat_ultralytics(tmp_path) / "data.yaml"
    file.write_text(text)
    assert re.search(said, refused(file))


@pytest.mark.parametrize("words", [("Train", "Validation"), ("TRAINING", "valid"), ("train2017", "Test")])
def test_words_of_splits_are_known_in_any_case(words: tuple[str, str], tmp_path: Path) -> None:
    def side(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["split"] = words[image["id"] >= 6]

    pool, evaluation = open_directory(coco(tmp_path, side)).pool_and_evaluation()
    assert (len(pool), len(evaluation)) == (6, 4)


def test_a_file_of_an_unknown_split_is_refused(tmp_path: Path) -> None:
    place = cvat_coco_splits(tmp_path) / "annotations"
    (place / "instances_Test.json").rename(place / "instances_extra.json")
    assert "the split 'extra' is not known; call it train, val or test" in refused(tmp_path)

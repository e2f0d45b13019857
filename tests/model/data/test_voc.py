from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from model.data.dataset import Dataset
from model.data.directories import open_directory
from tests.model.data.pictures import write_picture

VOC = """<annotation><filename>{file}</filename>{size}
<object><name>dog</name><difficult>0</difficult>
  <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>60</xmax><ymax>40</ymax></bndbox></object>
<object><name>cat</name><difficult>1</difficult>
  <bndbox><xmin>5</xmin><ymin>5</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>
<object><name>bird</name>
  <bndbox><xmin>11</xmin><ymin>21</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>
</annotation>"""


def opened(directory: Path) -> Dataset:
    if not (directory / "a.jpg").exists():
        write_picture(directory / "a.jpg", 60, 40)
    return open_directory(directory)


def test_voc_counts_pixels_from_one_and_leaves_difficult_out(tmp_path: Path) -> None:
    size = "<size><width>60</width><height>40</height><depth>3</depth></size>"
    (tmp_path / "a.xml").write_text(VOC.format(file="a.jpg", size=size))
    dataset = opened(tmp_path)
    assert dataset.names == ("bird", "dog")  # the only cat is difficult
    (image,) = dataset.images
    assert (image.id, image.path, image.size) == (1, tmp_path / "a.jpg", (60, 40))
    assert image.class_ids.tolist() == [1, 0]
    # 1..60 of 60 pixels is the whole width: 0 to 60; pixels 11..30 are twenty wide
    assert image.xyxy.tolist() == [[0, 0, 60, 40], [10, 20, 30, 40]]


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>"])
def test_voc_without_a_size_asks_the_picture(size: str, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", 60, 40)
    (tmp_path / "a.xml").write_text(VOC.format(file="a.jpg", size=size))
    assert opened(tmp_path).images[0].size == (60, 40)


def test_voc_without_corners_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(VOC.format(file="a.jpg", size="").replace("<xmin>1</xmin>", ""))
    with pytest.raises(ValueError, match=r"a\.xml: an object without xmin"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("<annotation>", '<annotation xmlns="http://example.com/voc">'),
        lambda text: re.sub(r"<(/?)(\w)", lambda tag: f"<{tag[1]}{tag[2].upper()}", text),
        lambda text: text.upper().replace("A.JPG", "a.jpg"),
    ],
    ids=["namespace", "capitals", "all capitals"],
)
def test_elements_are_known_in_any_spelling(change: Callable[[str], str], tmp_path: Path) -> None:
    """An object that is not found would be learned as background."""
    (tmp_path / "a.xml").write_text(change(VOC.format(file="a.jpg", size="")))
    assert opened(tmp_path).images[0].xyxy.tolist() == [[0, 0, 60, 40], [10, 20, 30, 40]]


def test_an_empty_annotation_says_that_nothing_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text("<annotation><filename>a.jpg</filename><weather>rain</weather></annotation>")
    dataset = opened(tmp_path)
    assert (len(dataset), dataset.boxes, dataset.notes) == (1, 0, ())

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.data.directories import open_directory
from tests.model.data.pictures import write_picture


def yolo(root: Path, labels: dict[str, str]) -> Dataset:
    for name, text in labels.items():
        (root / "labels" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "labels" / name).write_text(text)
    (root / "classes.txt").write_text("cat\ndog\n")
    return open_directory(root)


def test_yolo(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "b.jpg", 100, 50)
    write_picture(tmp_path / "images" / "a.png", 40, 40)
    write_picture(tmp_path / "images" / "more" / "c.JPEG", 100, 50, orientation=6)
    (tmp_path / "images" / "notes.txt").write_text("no picture")
    write_picture(tmp_path / "images" / "nobody-looked.png", 40, 40)
    dataset = yolo(
        tmp_path,
        {"a.txt": "", "b.txt": "1 0.5 0.5 0.2 0.4\n\n0 0.1 0.1 0.2 0.2 0.87\n", "more/c.txt": "0 0.5 0.25 1.0 0.5\n"},
    )
    assert [(i.id, i.path.name, i.size) for i in dataset.images] == [
        (1, "a.png", (40, 40)),
        (2, "b.jpg", (100, 50)),
        (3, "c.JPEG", (50, 100)),
    ]
    assert len(dataset.images[0].class_ids) == 0
    (note,) = dataset.notes
    assert "1 of 4 images have no label file and are left out; an empty label file says: no objects" in note
    assert str(tmp_path / "images" / "nobody-looked.png") in note
    np.testing.assert_allclose(dataset.images[1].xyxy, [[40, 15, 60, 35], [0, 0, 20, 10]], atol=1e-5)
    assert dataset.images[1].class_ids.tolist() == [1, 0]
    np.testing.assert_allclose(dataset.images[2].xyxy, [[0, 0, 50, 50]], atol=1e-5)


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


@pytest.mark.parametrize(
    ("labeled", "said", "left"), [(2, "count as images without objects", 4), (1, "are left out", 1)]
)
def test_in_a_data_yaml_a_missing_label_says_no_objects_unless_most_are_missing(
    labeled: int, said: str, left: int, tmp_path: Path
) -> None:
    for k in range(4):
        write_picture(tmp_path / "images" / f"{k}.png", 40, 40)
    (tmp_path / "data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    dataset = yolo(tmp_path, {f"{k}.txt": "0 .5 .5 .2 .2" for k in range(labeled)})
    assert len(dataset) == left
    assert f"{4 - labeled} of 4 images have no label file and {said}" in dataset.notes[0]


def test_yolo_polygons_become_the_boxes_around_them(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "a.png", 100, 50)
    dataset = yolo(tmp_path, {"a.txt": "1 .1 .4 .2 .2 .4 .8\n0 .1 .1 .2 .1 .2 .2 .1 .2\n0 .5 .5 .2 .2\n"})
    np.testing.assert_allclose(dataset.images[0].xyxy, [[10, 10, 40, 40], [10, 5, 20, 10], [40, 20, 60, 30]], atol=1e-5)
    assert dataset.images[0].class_ids.tolist() == [1, 0, 0]

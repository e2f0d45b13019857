"""Whatever stands in a file of labels: a data set whose boxes can be learned from, or one line that names the file."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model.data.dataset import Dataset
from model.data.directories import open_directory
from tests.model.data.exported import label_studio_coco, label_studio_voc, label_studio_yolo

QUICK = settings(max_examples=40, deadline=None)
LETTERS = st.characters(exclude_categories=())  # halves of a pair too, which JSON can write and no file can be named
NUMBERS = st.floats() | st.floats(-50, 200) | st.integers(-(10**400), 10**400) | st.sampled_from([0, 5, 80, 100, 1e-9])
SCALARS = st.none() | st.booleans() | NUMBERS | st.text(LETTERS, max_size=8)
ANYTHING = st.recursive(SCALARS, lambda one: st.lists(one, max_size=5) | st.dictionaries(st.text(max_size=5), one))
FIELDS = [
    *(("images", field) for field in ("id", "file_name", "width", "height", "split")),
    *(("annotations", field) for field in ("id", "image_id", "category_id", "bbox", "iscrowd", "segmentation")),
    *(("categories", field) for field in ("id", "name", "supercategory")),
    *((table, None) for table in ("images", "annotations", "categories", "info")),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], Path]], Path]:
    """Where the ten pictures lie in a format, written once."""
    made: dict[Callable[[Path], Path], Path] = {}

    def place(write: Callable[[Path], Path]) -> Path:
        if write not in made:
            made[write] = write(tmp_path_factory.mktemp(write.__name__))
        return made[write]

    return place


def learned_or_refused(root: Path) -> Dataset | None:
    """What is read; None where one line says why nothing is. Fails on boxes that nothing can be learned from."""
    try:
        dataset = open_directory(root)
    except ValueError as error:
        said = str(error)
        assert str(root) in said
        assert "\n" not in said
        said.encode()
        return None
    for image in dataset.images:
        width, height = image.size
        assert np.isfinite(image.xyxy).all()
        assert (image.xyxy[:, :2] >= 0).all()
        assert (image.xyxy[:, 2:] <= [width, height]).all()
        assert (image.xyxy[:, 2:] > image.xyxy[:, :2]).all()
        assert ((image.class_ids >= 0) & (image.class_ids < len(dataset.names))).all()
    for line in dataset.notes:
        assert "\n" not in line
        line.encode()
    json.dumps([*dataset.names, [image.id for image in dataset.images]])
    return dataset


@QUICK
@given(st.sampled_from(FIELDS), ANYTHING, st.booleans())
@example(("annotations", "bbox"), [1e308, 1e308, 1e308, 1e308], False)
@example(("images", "width"), 10**400, False)
@example(("images", "id"), 2**63, False)
@example(("categories", "name"), "\ud800", False)
@example(("images", "split"), "9" * 100 + "x", False)
def test_anything_in_the_place_of_a_coco_entry(
    root: Callable[[Callable[[Path], Path]], Path], place: tuple[str, str | None], value: Any, whole: bool
) -> None:
    directory = root(label_studio_coco)
    file = directory / "result.json"
    before = file.read_bytes()
    content = copy.deepcopy(json.loads(before))
    table, field = place
    if field is None and whole:
        content[table] = value
    elif field is None and table != "info":
        content[table][0] = value
    elif field is not None:
        content[table][0][field] = value
    file.write_text(json.dumps(content))
    try:
        learned_or_refused(directory)
    finally:
        file.write_bytes(before)


@QUICK
@given(st.lists(NUMBERS, min_size=4, max_size=4))
def test_any_numbers_in_the_place_of_a_coco_box(
    root: Callable[[Callable[[Path], Path]], Path], numbers: list[float]
) -> None:
    directory = root(label_studio_coco)
    file = directory / "result.json"
    before = file.read_bytes()
    content = json.loads(before)
    content["annotations"][0]["bbox"] = numbers
    file.write_text(json.dumps(content))
    try:
        assert len(learned_or_refused(directory) or []) >= 9  # one odd box ends nothing
    finally:
        file.write_bytes(before)


WRITTEN = NUMBERS.map(lambda number: f"{number}"[:400]) | st.text(max_size=6)


@QUICK
@given(
    st.lists(WRITTEN, max_size=10)
    | st.lists(st.floats(-3, 3).map(str), min_size=4, max_size=8).map(lambda n: ["1", *n])
)
def test_any_words_in_a_line_of_yolo(root: Callable[[Callable[[Path], Path]], Path], words: list[str]) -> None:
    directory = root(label_studio_yolo)
    file = directory / "labels" / "p01.txt"
    before = file.read_bytes()
    file.write_bytes(" ".join(words).encode("utf-8", "replace"))
    try:
        assert len(learned_or_refused(directory) or []) >= 9
    finally:
        file.write_bytes(before)


@QUICK
@given(
    st.dictionaries(
        st.sampled_from(["xmin", "ymin", "xmax", "ymax", "name", "width", "height", "filename", "difficult"]), WRITTEN
    )
)
def test_any_text_in_the_elements_of_voc(
    root: Callable[[Callable[[Path], Path]], Path], elements: dict[str, str]
) -> None:
    directory = root(label_studio_voc)
    file = directory / "Annotations" / "p01.xml"
    before = file.read_text()
    changed = before
    for name, text in elements.items():
        start, end = changed.find(f"<{name}>"), changed.find(f"</{name}>")
        changed = f"{changed[:start]}<{name}>{text}{changed[end:]}" if start >= 0 else changed
    file.write_bytes(changed.encode("utf-8", "replace"))
    try:
        assert len(learned_or_refused(directory) or []) >= 9
    finally:
        file.write_text(before)

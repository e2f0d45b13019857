"""The procedural road signs: the same bytes every time, boxes that fit, a long tail."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from model.data.dataset import Dataset
from model.data.images import load_image
from model.synthetic.scenes import FREQUENCY, HEIGHT, NAMES, WIDTH, scene, write_scenes


def digests(directory: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((directory / "images").iterdir())}


@pytest.fixture(scope="module")
def many() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Enough for shares of the classes: (picture, boxes, classes) each."""
    with ThreadPoolExecutor(2) as threads:  # NumPy and OpenCV let go of the interpreter
        return list(threads.map(partial(scene, 0), range(160)))


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = write_scenes(tmp_path / "one", 3, seed=5), write_scenes(tmp_path / "two", 3, seed=5)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    assert (tmp_path / "one/annotations.json").read_bytes() == (tmp_path / "two/annotations.json").read_bytes()
    assert one.fingerprint() == two.fingerprint()
    assert write_scenes(tmp_path / "other", 3, seed=6).fingerprint() != one.fingerprint()


def test_more_scenes_keep_the_earlier_ones(tmp_path: Path) -> None:
    few, many = write_scenes(tmp_path / "few", 3), write_scenes(tmp_path / "many", 6)
    files = digests(tmp_path / "many")
    assert len(files) == 6
    assert digests(tmp_path / "few").items() <= files.items()
    assert many.subset([1, 2, 3]).fingerprint() == few.fingerprint()


def test_the_files_are_a_coco_data_set(tmp_path: Path) -> None:
    written = write_scenes(tmp_path, 4)
    read = Dataset.from_coco(tmp_path / "annotations.json", tmp_path / "images")
    assert read.fingerprint() == written.fingerprint()
    assert read.names == NAMES
    annotations = json.loads((tmp_path / "annotations.json").read_text())["annotations"]
    assert [a["id"] for a in annotations] == list(range(1, len(annotations) + 1))
    for image in read.images:
        assert load_image(image.path).shape == (HEIGHT, WIDTH, 3)


def test_boxes_lie_inside_and_enclose_something(many: list) -> None:
    boxes = np.concatenate([b for _, b, _ in many])
    assert (boxes >= 0).all()
    assert (boxes <= [WIDTH, HEIGHT, WIDTH, HEIGHT]).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 5).all()


def test_a_sign_is_where_its_box_says(many: list) -> None:
    """Inside the boxes of red signs there is far more red than in the rest of the picture."""
    inside, outside = [], []
    for picture, boxes, classes in many[:40]:
        red = picture[..., 0].astype(float) - picture[..., 1:].astype(float).mean(axis=-1)
        mask = np.zeros((HEIGHT, WIDTH), bool)
        for x1, y1, x2, y2 in boxes[np.isin(classes, [NAMES.index("stop"), NAMES.index("no entry")])].astype(int):
            mask[y1:y2, x1:x2] = True
        inside.extend(red[mask])
        outside.extend(red[~mask])
    assert np.mean(inside) > np.mean(outside) + 30


def test_every_class_occurs_and_the_tail_is_long(many: list) -> None:
    counts = np.bincount(np.concatenate([c for *_, c in many]), minlength=len(NAMES))
    assert (counts > 0).all()
    assert counts[0] > 10 * counts[-1]
    assert counts[0] == counts.max()
    share, expected = counts / counts.sum(), FREQUENCY / FREQUENCY.sum()
    assert np.abs(share - expected).max() < 0.05


def test_some_scenes_are_empty_and_some_are_crowded(many: list) -> None:
    per_scene = [len(c) for *_, c in many]
    assert min(per_scene) == 0
    assert max(per_scene) >= 4
    assert 1.5 < np.mean(per_scene) < 3

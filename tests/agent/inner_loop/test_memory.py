"""What large pictures cost in memory: one of them at a time, and its square after it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image

from agent.inner_loop.surrogate import train_variant
from agent.inner_loop.values import SurrogateConfig
from model.data.dataset import Dataset, LabeledImage
from model.data.images import Letterboxed, load_image
from model.detectors.yolo import YoloDetector
from tests.model.made import SIDE, TINY_YOLO

WIDTH, HEIGHT, COUNT = 1000, 750, 24
WHOLE = WIDTH * HEIGHT * 3  # bytes of one decoded picture


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    directory, images = tmp_path_factory.mktemp("photographs"), []
    for number in range(1, COUNT + 1):
        colours = np.random.default_rng(number).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        path = directory / f"{number}.jpg"
        Image.fromarray(colours).resize((WIDTH, HEIGHT)).save(path)
        box = np.array([[100, 100, 400, 400]], np.float32)
        images.append(LabeledImage(number, path, (WIDTH, HEIGHT), box, np.zeros(1, np.int64)))
    return Dataset(tuple(images), ("thing",))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> YoloDetector:
    file = tmp_path_factory.mktemp("architecture") / "yolo11-tiny.yaml"
    file.write_text(TINY_YOLO)
    return YoloDetector.new(str(file), ("thing",), SIDE)


def peak(work: Callable[[], object]) -> int:
    """Bytes that numpy and Python held at most; the pixels that Pillow decodes come to the same again."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_variant_keeps_no_whole_picture(photographs: Dataset, detector: YoloDetector) -> None:
    parts = photographs.subset(range(1, 5)), photographs.subset(range(5, 9)), photographs.subset(range(9, COUNT + 1))
    config = SurrogateConfig(steps=1, every=1, batch=4)
    assert peak(lambda: train_variant(detector, *parts, config, labels=True)) < 10 * WHOLE, (
        "what torch imports is in it"
    )


def test_a_variant_measures_the_same_with_what_it_keeps(
    photographs: Dataset, detector: YoloDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = photographs.subset(range(1, 5)), photographs.subset(range(5, 9)), photographs.subset(range(9, 13))
    config, reached = SurrogateConfig(steps=1, every=1, batch=4), []
    for kept in (True, False):
        monkeypatch.setattr("agent.inner_loop.surrogate.fit_in_memory", lambda *_, kept=kept: kept)
        curve = train_variant(detector, *parts, config, labels=True)
        reached.append([table.evaluate().map for table in curve.tables])
    assert reached[0] == reached[1]


def test_a_scan_holds_one_picture_at_a_time(photographs: Dataset, detector: YoloDetector) -> None:
    def pictures() -> Iterator[np.ndarray]:
        for image in photographs.images:
            yield load_image(image.path)

    assert peak(lambda: list(detector.scan(pictures(), batch=16))) < 4 * WHOLE
    assert peak(lambda: detector.predict([image.path for image in photographs.images])) < 4 * WHOLE


def test_what_is_left_of_a_picture_gives_the_same_boxes(photographs: Dataset, detector: YoloDetector) -> None:
    paths = [image.path for image in photographs.images[:3]]
    whole = detector.predict([load_image(path) for path in paths])
    squares = detector.predict([Letterboxed.of(load_image(path), SIDE) for path in paths])
    for one, other in zip(whole, squares, strict=True):
        assert one.size == other.size == (WIDTH, HEIGHT)
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
        np.testing.assert_array_equal(one.scores, other.scores)
    with pytest.raises(ValueError, match="a square of 32 pixels for a detector of 64"):
        detector.predict([Letterboxed.of(load_image(paths[0]), 32)])

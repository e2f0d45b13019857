"""Opening weights: by path or name, and files that are missing, broken or hostile."""

from __future__ import annotations

import copy
import os
import pickle
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from ultralytics.nn.tasks import SegmentationModel

from model.detectors.base import FitConfig, WeightsError
from model.detectors.open import open_detector
from model.detectors.yolo import YoloDetector, is_published
from tests.model.made import SIDE, new, squares


@pytest.fixture(scope="module")
def small() -> YoloDetector:
    return YoloDetector.new("yolo11n.yaml", ("red", "blue"), SIDE)


def test_a_missing_file_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"none\.pt.: no such file, .* give the path"):
        open_detector(tmp_path / "none.pt")
    with pytest.raises(WeightsError, match=r"'yolo99z\.pt'"):
        open_detector("yolo99z.pt")


def test_published_names() -> None:
    assert is_published("yolo11n.pt")
    assert not is_published("yolo11n.txt")


@pytest.mark.parametrize("data", [b"", b"garbage", b"PK\x03\x04 cut off", bytes(range(256)) * 40])
def test_garbage_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "garbage.pt").write_bytes(data)
    with pytest.raises(WeightsError, match=r"garbage\.pt.* cannot be opened"):
        open_detector(tmp_path / "garbage.pt")


def test_a_truncated_file_is_refused(small: YoloDetector, tmp_path: Path) -> None:
    small.save(tmp_path / "whole.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:100_000])
    with pytest.raises(WeightsError, match=r"cut\.pt"):
        open_detector(tmp_path / "cut.pt")


@pytest.mark.parametrize("entry", ["archive/data.pkl", "archive/data/0"])
def test_a_file_that_unpacks_to_much_more_than_it_is_is_not_unpacked(entry: str, tmp_path: Path) -> None:
    with ZipFile(tmp_path / "bomb.pt", "w", ZIP_DEFLATED) as archive:
        archive.writestr(entry, bytes(200_000_000))
        archive.writestr("archive/version", "3\n")
    with pytest.raises(WeightsError, match="unpacks to 200 MB"):
        open_detector(tmp_path / "bomb.pt")


def test_what_can_be_opened_but_not_read_to_an_end_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.pt")
    for path in (tmp_path / "fifo.pt", Path("/dev/zero")):
        with pytest.raises(WeightsError, match="it is no file"):
            open_detector(path)


@pytest.mark.parametrize("name", ["o'brien/best.pt", "yolov5s.pt", " best .pt", "größe #1.pt"])
def test_the_path_may_hold_anything(name: str, small: YoloDetector, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    small.save(tmp_path / name)
    assert open_detector(tmp_path / name).names == ("red", "blue")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="cannot be opened"):
        open_detector(tmp_path)


@pytest.mark.parametrize("content", [{"model": {"weight": torch.zeros(3)}}, {"other": 1}, [1, 2]])
def test_a_checkpoint_without_a_detector_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(WeightsError, match=r"other\.pt"):
        open_detector(tmp_path / "other.pt")


def test_a_segmentation_model_is_refused(tmp_path: Path) -> None:
    torch.save({"model": SegmentationModel("yolo11n-seg.yaml", nc=2, verbose=False)}, tmp_path / "seg.pt")
    with pytest.raises(WeightsError, match="holds a SegmentationModel, not a detection model"):
        open_detector(tmp_path / "seg.pt")


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.marker), "w"))


@pytest.mark.parametrize("form", ["pickle", "zip", "legacy", "beside the model"])
def test_a_hostile_file_does_not_run(form: str, small: YoloDetector, tmp_path: Path) -> None:
    marker, path = tmp_path / "it ran", tmp_path / "hostile.pt"
    pickle.loads(pickle.dumps(Bomb(marker)))
    assert marker.exists(), "the bomb is a dud"
    marker.unlink()
    if form == "pickle":
        path.write_bytes(pickle.dumps({"model": Bomb(marker)}, protocol=2))
    elif form == "beside the model":
        torch.save({"model": small.module, "extra": Bomb(marker)}, path)
    else:
        torch.save({"model": Bomb(marker)}, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(WeightsError, match=r"hostile\.pt"):
        open_detector(path)
    assert not marker.exists()


def test_a_hostile_layer_list_does_not_run_when_training_builds_from_it(small: YoloDetector, tmp_path: Path) -> None:
    marker, path = tmp_path / "it ran", tmp_path / "hostile.pt"
    module = copy.deepcopy(small.module)
    module.yaml["activation"] = f"open({str(marker)!r}, 'w') and torch.nn.SiLU()"
    torch.save({"model": module}, path)
    opened = open_detector(path)
    with pytest.raises(TypeError, match="unsupported activation"):
        opened.fit(squares(tmp_path / "images", 1), FitConfig(epochs=1, min_steps=1, image_size=SIDE))
    assert not marker.exists()


@pytest.mark.parametrize("where", ["weights", "names", "torchvision", "beside"])
def test_a_hostile_torchvision_file_does_not_run(where: str, tmp_path: Path) -> None:
    marker, path = tmp_path / "it ran", tmp_path / "hostile.pt"
    new("tiny-ssd", ("red", "blue")).save(path)
    torch.save(torch.load(path, weights_only=True) | {where: Bomb(marker)}, path)
    with pytest.raises(WeightsError, match=r"hostile\.pt"):
        open_detector(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"torchvision": "nonsense"},
        {"torchvision": ["tiny-ssd"]},
        {"names": 5},
        {"names": ["red", "blue", "green"]},
        {"image_size": "large"},
        {"weights": {}},
        {"weights": None},
    ],
)
def test_a_broken_torchvision_file_is_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    new("tiny-ssd", ("red", "blue")).save(tmp_path / "broken.pt")
    torch.save(torch.load(tmp_path / "broken.pt", weights_only=True) | changes, tmp_path / "broken.pt")
    with pytest.raises(WeightsError, match=r"broken\.pt. cannot be opened as a torchvision detector"):
        open_detector(tmp_path / "broken.pt")


def test_the_image_size_is_kept(tmp_path: Path) -> None:
    YoloDetector.new("yolo11n.yaml", ("a",), 96).save(tmp_path / "a.pt")
    assert open_detector(tmp_path / "a.pt").image_size == 96
    torch.save({"model": YoloDetector.new("yolo11n.yaml", ("a",), 96).module}, tmp_path / "b.pt")
    assert open_detector(tmp_path / "b.pt").image_size == 640  # ultralytics' default

"""What a training keeps in memory, and that keeping less changes nothing that it learns."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch

from model.data.dataset import Dataset
from model.detectors.base import FitConfig
from model.detectors.recomputed import PLAIN, as_published
from model.detectors.run import Run
from model.detectors.training import Sample, Samples
from model.detectors.yolo import YoloDetector
from tests.model.made import SIDE, TINY, same, squares, state

CONFIG = FitConfig(epochs=3, min_steps=1, batch=4, image_size=SIDE)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return squares(tmp_path_factory.mktemp("squares"), 4)


@pytest.fixture
def batch(data: Dataset) -> list[Sample]:
    return [Samples(data, SIDE, False)[k] for k in range(4)]


def students(directory: Path, family: str) -> tuple[YoloDetector, YoloDetector]:
    """One that keeps what ultralytics' layers keep, and one that computes a part of it again."""
    file = directory / f"{family}-tiny.yaml"
    file.write_text(TINY[family])
    detector = YoloDetector.new(str(file), ("red", "blue"), SIDE)
    plain, sparing = detector.student(), detector.student()
    as_published(plain.module)
    assert any(type(layer) in PLAIN for layer in sparing.module.modules())
    return plain, sparing


def kept(student: YoloDetector, batch: list[Sample]) -> int:
    """Bytes that are kept for the backward pass."""
    blocks: dict[int, torch.UntypedStorage] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        blocks[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        student.loss(batch)
    return sum(block.nbytes() for block in blocks.values())


def test_a_fifth_less_is_kept(tmp_path: Path, batch: list[Sample]) -> None:
    plain, sparing = students(tmp_path, "yolo11n")
    assert kept(sparing, batch) < 0.8 * kept(plain, batch)


@pytest.mark.parametrize(
    ("family", "precision"), [*((family, torch.float32) for family in TINY), ("yolo11n", torch.bfloat16)]
)
def test_the_weights_are_the_same_to_the_last_bit(
    tmp_path: Path, batch: list[Sample], family: str, precision: torch.dtype
) -> None:
    low = precision == torch.bfloat16
    learned = []
    for student in students(tmp_path, family):
        run = Run(student.module, len(batch), CONFIG)
        for _ in range(2):
            torch.manual_seed(0)  # RT-DETR draws what it denoises
            under: AbstractContextManager = torch.autocast("cpu", precision) if low else nullcontext()
            with under:
                loss = student.loss(batch)
            assert run.update(loss, len(batch))
        learned.append(state(student))
    assert same(*learned)


def test_what_was_trained_has_the_layers_that_ultralytics_knows(tmp_path: Path, data: Dataset) -> None:
    _, student = students(tmp_path, "yolo11n")
    student.save(tmp_path / "weights.pt")
    for detector in (student.copy(), YoloDetector.load(tmp_path / "weights.pt"), student.fit(data, CONFIG)):
        assert not any(type(layer) in PLAIN for layer in detector.module.modules())


def test_no_gradient_is_kept_between_updates(tmp_path: Path, batch: list[Sample]) -> None:
    student, _ = students(tmp_path, "yolo11n")
    Run(student.module, len(batch), CONFIG).update(student.loss(batch), len(batch))
    assert all(weight.grad is None for weight in student.module.parameters())


def test_squares_lie_in_one_block(data: Dataset) -> None:
    samples, read = Samples(data, SIDE, True), Samples(data, SIDE, False)
    blocks = {samples[k][0].untyped_storage().data_ptr() for k in (1, 0, 1, 3, 2)}
    assert len(blocks) == 1
    assert all(torch.equal(one, two) for k in range(4) for one, two in zip(samples[k], read[k], strict=True))

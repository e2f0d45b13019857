"""Variants: the formulas of semi-supervised training, and that a variant differs from its control by its batch only.

With a detector of each family.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agent.inner_loop.plan import SURROGATE, Plan
from agent.inner_loop.surrogate import VariantCurve, ramp_up, train_variant
from agent.inner_loop.values import Group, SurrogateConfig, Variant
from model.data.dataset import Dataset
from model.detectors.base import FitConfig
from model.detectors.learner import Learner, average
from model.detectors.network import NetworkDetector
from model.progress import Cancelled, silent
from tests.model.made import SIDE, TINY_YOLO, cancel, new, squares, state

QUICK = SurrogateConfig(steps=2, every=1, batch=4, momentum=0.5, confidence=0.01)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return squares(tmp_path_factory.mktemp("squares"), 18)


@pytest.fixture(scope="module", params=["tiny-yolo", "tiny-retinanet", "tiny-fasterrcnn"])
def detector(
    request: pytest.FixtureRequest, data: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> NetworkDetector:
    config = FitConfig(epochs=1, min_steps=30, batch=6, image_size=SIDE, learning_rate=2e-2)
    architecture = request.param
    if architecture == "tiny-yolo":
        file = tmp_path_factory.mktemp("architecture") / "yolo11-tiny.yaml"
        file.write_text(TINY_YOLO)
        architecture = str(file)
    fitted = new(architecture, data.names).fit(data.subset(range(1, 7)), config)
    assert isinstance(fitted, NetworkDetector)
    return fitted


def parts(data: Dataset) -> tuple[Dataset, Dataset, Dataset]:
    """Six labeled images, four of the pool, eight to measure on."""
    return data.subset(range(1, 7)), data.subset(range(7, 11)), data.subset(range(11, 19))


def maps(curve: VariantCurve) -> list[float]:
    return [table.evaluate().map for table in curve.tables]


def test_the_ramp_is_the_gaussian_of_laine_and_aila() -> None:
    for step in range(11):
        assert ramp_up(step, 10) == pytest.approx(math.exp(-5 * (1 - step / 10) ** 2))
    assert ramp_up(0, 10) == pytest.approx(0.0067379, abs=1e-7)
    assert ramp_up(25, 10) == 1.0


def test_the_teacher_is_the_exponential_moving_average_of_its_students() -> None:
    torch.manual_seed(0)
    teacher = torch.nn.BatchNorm1d(3)
    students = [torch.nn.BatchNorm1d(3) for _ in range(4)]
    for k, student in enumerate(students):
        torch.nn.init.normal_(student.weight)
        student.running_mean = torch.randn(3)
        student.num_batches_tracked = torch.tensor(k + 5)
    first = copy.deepcopy(teacher)
    for student in students:
        average(teacher, student, 0.9)
    for name in ("weight", "bias", "running_mean", "running_var"):
        expected = 0.9**4 * getattr(first, name)
        for k, student in enumerate(students):
            expected = expected + 0.1 * 0.9 ** (3 - k) * getattr(student, name)
        torch.testing.assert_close(getattr(teacher, name), expected)
    assert teacher.num_batches_tracked == 8


def test_the_loss_is_the_supervised_one_and_the_ramped_unsupervised_one(
    data: Dataset, detector: NetworkDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every update's loss is L_S + w(t) L_U, whatever the two are."""
    parts_of: list[float] = []
    whole: list[float] = []
    loss, update = Learner.loss, Learner.update

    def record(self: Learner, *args: object) -> torch.Tensor:
        value = loss(self, *args)  # type: ignore[arg-type]
        parts_of.append(value.item())
        return value

    def total(self: Learner, value: torch.Tensor, rate: float, momentum: float) -> None:
        whole.append(value.item())
        update(self, value, rate, momentum)

    monkeypatch.setattr(Learner, "loss", record)
    monkeypatch.setattr(Learner, "update", total)
    config = replace(QUICK, steps=4, every=4, ramp=1.0, weight=0.7)
    labeled, batch, evaluation = parts(data)
    train_variant(detector, labeled, batch, evaluation, config, labels=False)
    supervised, unsupervised = parts_of[::2], parts_of[1::2]
    for step in range(4):
        weight = 0.7 * ramp_up(step + 1, 4)
        assert whole[step] == pytest.approx(supervised[step] + weight * unsupervised[step], rel=1e-5)


def test_the_same_seed_gives_the_same_curve(data: Dataset, detector: NetworkDetector) -> None:
    config = QUICK
    labeled, batch, evaluation = parts(data)
    torch.manual_seed(1)
    one = maps(train_variant(detector, labeled, batch, evaluation, config, labels=False))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert maps(train_variant(detector, labeled, batch, evaluation, config, labels=False)) == one
    assert torch.equal(torch.get_rng_state(), before)
    other = replace(config, seed=1, steps=4)
    assert maps(train_variant(detector, labeled, batch, evaluation, other, labels=False)) != one


def test_of_a_frozen_student_only_the_head_learns(detector: NetworkDetector) -> None:
    student = detector.student(frozen=True)
    body = {id(parameter) for layer in student.body() for parameter in layer.parameters()}
    trainable = {id(parameter) for parameter in student.module.parameters() if parameter.requires_grad}
    assert trainable
    assert body
    assert not trainable & body


def test_the_start_is_left_alone(data: Dataset, detector: NetworkDetector) -> None:
    before = state(detector)
    labeled, _, evaluation = parts(data)
    train_variant(detector, labeled, labeled, evaluation, QUICK, labels=True)
    assert all(torch.equal(before[k], v) for k, v in state(detector).items())


def test_variants_of_a_seed_see_the_same_labeled_half(
    data: Dataset, detector: NetworkDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures: list[list[torch.Tensor]] = []
    loss = Learner.loss

    def record(self: Learner, samples: list) -> torch.Tensor:
        pictures.append([picture for picture, *_ in samples])
        return loss(self, samples)

    monkeypatch.setattr(Learner, "loss", record)
    labeled, batch, evaluation = parts(data)
    train_variant(detector, labeled, batch, evaluation, QUICK, labels=False)
    train_variant(detector, labeled, labeled, evaluation, QUICK, labels=True)
    for step in range(2):
        one, other = pictures[2 * step], pictures[4 + 2 * step]
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
        batch_one, batch_other = pictures[2 * step + 1], pictures[5 + 2 * step]
        assert not all(torch.equal(a, b) for a, b in zip(batch_one, batch_other, strict=True))


def test_it_is_measured_at_the_end_and_a_little_before(data: Dataset, detector: NetworkDetector) -> None:
    labeled, batch, evaluation = parts(data)
    for steps, every, measured in ((5, 2, (3, 5)), (2, 2, (2,)), (2, 10, (2,))):
        config = replace(QUICK, steps=steps, every=every)
        curve = train_variant(detector, labeled, batch, evaluation, config, labels=True)
        assert curve.steps == measured
        assert [len(table) for table in curve.tables] == [len(evaluation)] * len(measured)


def test_cancelling_is_let_through(data: Dataset, detector: NetworkDetector) -> None:
    labeled, batch, evaluation = parts(data)
    with pytest.raises(Cancelled):
        train_variant(detector, labeled, batch, evaluation, QUICK, labels=True, report=cancel)


def test_pseudo_labels_are_the_teachers_sure_boxes(data: Dataset, detector: NetworkDetector) -> None:
    learner = Learner(detector, learning_rate=1e-3)
    pictures = [i.path for i in data.images[:4]]
    from model.data.images import letterbox, load_image

    plain = torch.stack([torch.from_numpy(letterbox(load_image(p), SIDE)[0]).permute(2, 0, 1) for p in pictures])
    sure = detector.predict(pictures, threshold=0.02)
    for (boxes, classes), detections in zip(learner.pseudo_labels(plain, 0.02), sure, strict=True):
        assert len(boxes) >= len(detections)
        np.testing.assert_allclose(boxes[: len(detections)].numpy()[:1], detections.xyxy[:1], atol=0.5)
        assert classes.tolist()[:1] == detections.class_ids.tolist()[:1]


def test_a_plan_runs_with_any_family(data: Dataset, detector: NetworkDetector, tmp_path: Path) -> None:
    labeled, batch, evaluation = (tuple(image.id for image in part.images) for part in parts(data))
    (tmp_path / "images").mkdir()
    for image in data.images:
        (tmp_path / "images" / image.path.name).write_bytes(image.path.read_bytes())
    group = Group(labeled, evaluation, QUICK)
    variants = [Variant(SURROGATE, "control", ()), Variant(SURROGATE, "random", batch)]
    Plan(tmp_path, {SURROGATE: group}, variants, 1, None).save(data, {SURROGATE: detector}, {})
    plan = Plan.load(tmp_path)
    for index in (0, 1):
        plan.run(index, silent)
    assert [step for step, _ in plan.result(1).curve] == [1, 2]
    assert math.isfinite(plan.result(1).gain)

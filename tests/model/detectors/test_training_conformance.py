"""What every detector must do when it learns, whatever its family: the second half of the conformance suite."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from model.data.dataset import Dataset, LabeledImage
from model.detectors.base import FitConfig
from model.detectors.network import NetworkDetector, transfer
from model.detectors.yolo import YoloDetector
from model.evaluate import evaluate
from model.progress import Cancelled
from tests.model.made import SIDE, Trained, cancel, new, same, squares, state

QUICK = FitConfig(epochs=1, min_steps=1, batch=4, image_size=SIDE)


def test_training_lowers_the_loss(trained: Trained) -> None:
    losses = [loss for *_, loss in trained.reports]
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])


def test_training_finds_what_it_was_shown(trained: Trained) -> None:
    paths = [i.path for i in trained.data.images]
    blank = new(trained.architecture, trained.data.names)
    assert evaluate(trained.data, blank.predict(paths)).map50 < 0.1
    assert evaluate(trained.data, trained.detector.predict(paths)).map50 > 0.4


def test_fit_reports_every_epoch(trained: Trained) -> None:
    assert [(done, total) for done, total, _ in trained.reports] == [(k, 90) for k in range(1, 91)]


def test_fit_takes_the_names_of_the_data_and_leaves_the_old_detector_alone(trained: Trained) -> None:
    assert trained.detector is not trained.base
    assert trained.detector.names == ("red", "blue")
    assert trained.base.names == ("blue", "car", "dog")
    fresh = new(trained.architecture, ("blue", "car", "dog"))
    assert same(state(trained.base), state(fresh))
    if isinstance(trained.base, YoloDetector):
        assert trained.base.module.yaml == fresh.module.yaml
    assert not trained.base.module.training
    (boxes,) = trained.base.predict([trained.data.images[0].path])
    assert boxes.class_scores.shape[1] == 3


def test_the_same_seed_gives_the_same_weights(trained: Trained) -> None:
    """Two pictures, one of them empty, one an update: a batch without any box must not hurt."""
    pair = Dataset(
        (trained.data.images[0], LabeledImage(2, trained.data.images[1].path, (SIDE, SIDE))), trained.data.names
    )
    config = dataclasses.replace(QUICK, batch=1)
    torch.manual_seed(1)
    one = state(trained.detector.fit(pair, config))
    torch.manual_seed(2)
    assert same(one, state(trained.detector.fit(pair, config)))
    assert not same(one, state(trained.detector.fit(pair, dataclasses.replace(config, seed=1))))


def test_fit_leaves_the_callers_random_numbers_alone(trained: Trained) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    trained.detector.fit(trained.data.subset([1]), QUICK)
    assert torch.rand(1) == expected


def test_fit_without_any_box_is_refused(trained: Trained) -> None:
    empty = Dataset((LabeledImage(1, trained.data.images[0].path, (SIDE, SIDE)),), ("red", "blue"))
    for nothing in (empty, Dataset((), ("red", "blue"))):
        with pytest.raises(ValueError, match=r"nothing to learn: \d images without any box; label some"):
            trained.detector.fit(nothing, QUICK)


def test_cancel_during_fit(trained: Trained) -> None:
    before = state(trained.detector)
    with pytest.raises(Cancelled):
        trained.detector.fit(trained.data.subset([1]), dataclasses.replace(QUICK, epochs=5), report=cancel)
    assert same(before, state(trained.detector))


def still(trained: Trained, names: tuple[str, ...], from_scratch: bool = False) -> dict[str, torch.Tensor]:
    """Weights of a detector that went through `fit` with a learning rate of zero: what was transferred, as it was."""
    image = dataclasses.replace(trained.data.images[0], class_ids=np.array([0]))
    config = dataclasses.replace(QUICK, learning_rate=0.0)
    fitted = trained.detector.fit(Dataset((image,), names), config, from_scratch=from_scratch)
    assert isinstance(fitted, NetworkDetector)
    return {key: value.clone() for key, value in fitted.module.named_parameters()}


def per_class(trained: Trained) -> set[str]:
    """The parameters whose shape follows the number of classes, found by building two sizes."""
    few, many = (dict(new(trained.architecture, [str(k) for k in range(n)]).module.named_parameters()) for n in (3, 5))
    keys = {key for key in few if few[key].shape != many[key].shape}
    assert keys
    return keys


def rows(one: NetworkDetector, key: str, value: torch.Tensor) -> torch.Tensor:
    """What a weight holds for each class."""
    by_class = one.by_class(key, value)
    assert by_class is not None, key
    assert len(by_class) == one.background + len(one.names)
    return by_class[one.background :]


def test_fit_starts_from_the_weights_of_the_classes_that_both_know(trained: Trained) -> None:
    names = ("car", "Blue", "red", "dog")
    old, values = state(trained.detector), still(trained, names)
    fitted = new(trained.architecture, names)
    few = per_class(trained)
    fresh = []
    for key, value in values.items():
        if key in few:
            theirs, ours = rows(trained.detector, key, old[key]), rows(fitted, key, value)
            assert torch.equal(ours[1], theirs[1]), key  # blue, whatever its case
            assert torch.equal(ours[2], theirs[0]), key  # red
            fresh.append(not torch.equal(ours[3], theirs[0]))
        else:
            assert torch.equal(value, old[key]), key
    assert any(fresh)


def test_a_class_keeps_its_scores_where_the_order_of_names_changes(trained: Trained) -> None:
    turned = new(trained.architecture, trained.detector.names[::-1])
    transfer(trained.detector, turned)
    paths = [i.path for i in trained.data.images]
    for one, two in zip(turned.predict(paths), trained.detector.predict(paths), strict=True):
        np.testing.assert_allclose(one.class_scores[:5, ::-1], two.class_scores[:5], atol=1e-3)
        np.testing.assert_allclose(one.xyxy[:5], two.xyxy[:5], atol=0.05)
        np.testing.assert_array_equal(1 - one.class_ids[:5], two.class_ids[:5])


def test_fit_with_other_names_keeps_every_layer_but_the_last(trained: Trained) -> None:
    """As many classes as the first convolution has channels: a row for each must not be taken for a class."""
    wide = dataclasses.replace(trained, detector=new(trained.architecture, [f"old {k}" for k in range(16)], seed=1))
    old, fitted = state(wide.detector), still(wide, tuple(f"new {k}" for k in range(16)))
    few = per_class(wide)
    assert any(value.shape[0] == 16 for key, value in fitted.items() if key not in few)
    for key, value in fitted.items():
        if key not in few:
            assert torch.equal(value, old[key].half().float()), key


def test_from_scratch_starts_anew(trained: Trained) -> None:
    old, fitted = state(trained.detector), still(trained, trained.detector.names, from_scratch=True)
    fresh = new(trained.architecture, trained.detector.names, QUICK.seed)
    for key, value in fresh.module.named_parameters():
        assert torch.equal(fitted[key], value.half().float()), key
    assert not same(fitted, {key: old[key] for key in fitted})


@pytest.mark.parametrize("steps", [1, 10, 11])
def test_any_number_of_updates_can_be_scheduled(steps: int, tmp_path: Path) -> None:
    data = squares(tmp_path, 1)
    reports: list[tuple[int, int]] = []
    YoloDetector.new("yolo11n.yaml", data.names, SIDE).fit(
        data,
        dataclasses.replace(QUICK, epochs=steps),
        report=lambda done, total, **_: reports.append((done, total)),
    )
    assert reports == [(k, steps) for k in range(1, steps + 1)]


def weights_from(*images: LabeledImage) -> dict[str, torch.Tensor]:
    data = Dataset(images, ("red", "blue"))
    return state(YoloDetector.new("yolo11n.yaml", data.names, SIDE).fit(data, QUICK))


def test_a_crowd_region_is_not_trained_on(tmp_path: Path) -> None:
    image = squares(tmp_path, 1).images[0]
    crowd = np.array([[1, 1, SIDE, SIDE]], np.float32)
    beside = dataclasses.replace(
        image,
        xyxy=np.concatenate([image.xyxy, crowd]),
        class_ids=np.append(image.class_ids, 0),
        crowd=np.append(image.crowd, True),
    )
    assert same(weights_from(beside), weights_from(image))


def test_a_picture_of_crowds_only_is_no_background(tmp_path: Path) -> None:
    """Objects are in it, and nobody drew them one by one."""
    image, second = squares(tmp_path, 2).images
    crowds = dataclasses.replace(second, crowd=np.ones(len(second.class_ids), bool))
    assert same(weights_from(image, crowds), weights_from(image))
    with pytest.raises(ValueError, match="nothing to learn: 1 images without any box"):
        weights_from(crowds)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size": 100}, "image_size 100: must be a multiple of 32"),
        ({"image_size": 32}, "image_size 32"),
        ({"epochs": 0}, "epochs 0: must be at least 1"),
        ({"batch": 0}, "batch 0"),
        ({"min_steps": 0}, "min_steps 0"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FitConfig(**change)


@pytest.mark.parametrize(("images", "passes"), [(1, 150), (16, 150), (17, 75), (40, 50), (320, 10), (40_000, 10)])
def test_few_images_take_many_passes(images: int, passes: int) -> None:
    assert FitConfig(epochs=10, min_steps=150, batch=16).passes(images) == passes

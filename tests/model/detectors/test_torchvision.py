"""The torchvision family beyond the conformance suite: torchvision's own answers, the published networks, ImageNet."""

from __future__ import annotations

import ast
import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d, clip_boxes_to_image

from model.detectors.base import FitConfig, WeightsError
from model.detectors.learner import Learner
from model.detectors.open import open_detector
from model.detectors.torchvision import DEVIATION, MEAN, TorchvisionDetector, openable
from model.detectors.torchvision_architectures import ARCHITECTURES
from model.detectors.torchvision_heads import candidates
from tests.model.made import SIDE, TORCHVISION, same, squares, state

LOADED = "torchvision.models._api.load_state_dict_from_url"


def picture(seed: int = 0, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def tensor(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def restless(architecture: str, names: tuple[str, ...]) -> TorchvisionDetector:
    """An untrained detector whose scores differ more than those of torchvision's careful first weights."""
    detector = TorchvisionDetector.new(architecture, names, SIDE)
    torch.manual_seed(0)
    for parameter in detector.module.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return detector


def torchvisions_own(detector: TorchvisionDetector, **settings: float) -> nn.Module:
    """The module as torchvision runs it, on pictures that need no fitting."""
    module = detector.copy().module
    module.transform = GeneralizedRCNNTransform(SIDE, SIDE, MEAN, DEVIATION, _skip_resize=True)
    heads = getattr(module, "roi_heads", module)
    for name, value in settings.items():
        setattr(heads, name, value)
    return module


@pytest.mark.parametrize("architecture", TORCHVISION)
def test_boxes_of_a_single_class_are_torchvisions_own(architecture: str) -> None:
    """With several, torchvision counts a box again as each of them."""
    detector = restless(architecture, ("a",))
    pictures = [picture(k) for k in range(3)]
    module = torchvisions_own(detector, score_thresh=0.001, detections_per_img=300, topk_candidates=3000)
    with torch.no_grad():
        expected = module(list(tensor(pictures).float() / 255))
    for ours, theirs in zip(detector.predict(pictures, threshold=0.001), expected, strict=True):
        large = ((theirs["boxes"][:, 2:] - theirs["boxes"][:, :2]) > 0.5).all(dim=1)  # as every detector here
        assert large.any()
        np.testing.assert_allclose(ours.scores, theirs["scores"][large], atol=1e-5)
        np.testing.assert_allclose(ours.xyxy, theirs["boxes"][large], atol=1e-3)


@pytest.mark.parametrize("architecture", TORCHVISION)
def test_the_score_of_every_class_is_torchvisions_own(architecture: str) -> None:
    """Where nothing is suppressed, torchvision gives a row for each box and class."""
    detector = restless(architecture, ("a", "b", "c"))
    module = torchvisions_own(
        detector, score_thresh=0.0, nms_thresh=1.0, detections_per_img=10**6, topk_candidates=10**6
    )
    with torch.no_grad():
        (theirs,) = module(list(tensor([picture()]).float() / 255))
        looking = detector.teacher()
        ((boxes, scores),) = candidates(looking.module, looking.levels(tensor([picture()])), SIDE)
    assert len(theirs["scores"]) == scores.numel() > 100
    np.testing.assert_allclose(scores.flatten().sort().values, theirs["scores"].sort().values, atol=1e-5)
    for box, row in zip(clip_boxes_to_image(boxes, (SIDE, SIDE)), scores, strict=True):
        same_class = theirs["labels"] == row.argmax() + detector.background
        difference = (theirs["boxes"] - box).abs().amax(dim=1) / SIDE + (theirs["scores"] - row.max()).abs()
        assert difference[same_class].min() < 1e-4


@pytest.mark.parametrize("architecture", TORCHVISION)
def test_the_loss_is_torchvisions_own(architecture: str) -> None:
    """Of two pictures, one of them without a box; and the same from levels that were computed before."""
    student = restless(architecture, ("a", "b", "c")).student()
    pictures = tensor([picture(0), picture(1)])
    boxes, labels = torch.tensor([[4.0, 6.0, 40.0, 44.0], [20.0, 20.0, 60.0, 50.0]]), torch.tensor([2, 0])
    samples = [(pictures[0], boxes, labels), (pictures[1], boxes[:0], labels[:0])]
    targets = [{"boxes": b, "labels": k + student.background} for _, b, k in samples]
    module = torchvisions_own(student).train()
    torch.manual_seed(0)
    expected = sum(module(list(pictures.float() / 255), targets).values())
    torch.manual_seed(0)
    torch.testing.assert_close(student.loss(samples), 2 * expected)
    levels = student.levels(pictures)
    torch.manual_seed(0)
    torch.testing.assert_close(student.loss(samples, levels), 2 * expected)


@pytest.mark.parametrize("architecture", ["retinanet", "ssd", "fasterrcnn"])
def test_a_published_architecture_scans_learns_saves_and_opens(architecture: str, tmp_path: Path) -> None:
    detector = TorchvisionDetector.new(architecture, ("blue", "dog"), SIDE)
    assert not any(isinstance(layer, FrozenBatchNorm2d) for layer in detector.module.modules())
    data = squares(tmp_path / "images", 1)
    fitted = detector.fit(data, FitConfig(epochs=1, min_steps=1, batch=1, image_size=SIDE))
    assert fitted.names == data.names
    assert not same(state(fitted), state(detector))
    (boxes,) = fitted.predict([data.images[0].path], threshold=0.0)
    assert 0 < len(boxes) <= 300
    np.testing.assert_array_equal(boxes.class_scores.max(axis=1), boxes.scores)
    fitted.save(tmp_path / "weights.pt")
    opened = open_detector(tmp_path / "weights.pt")
    assert isinstance(opened, TorchvisionDetector)
    assert (opened.architecture, opened.names, opened.image_size) == (architecture, data.names, SIDE)
    assert same(state(opened), state(fitted))


def test_ssd_tiles_a_picture_of_any_size() -> None:
    """Default boxes lie at the centres of the cells, and every level has cells."""
    module: Any = ARCHITECTURES["ssd"].build(3, None).eval()
    for side in (64, 96, 320):
        with torch.no_grad():
            levels = list(module.backbone(torch.zeros(1, 3, side, side)).values())
        assert [level.shape[-1] for level in levels[:3]] == [side // 8, side // 16, side // 32]
        (boxes,) = module.anchor_generator(ImageList(torch.zeros(1, 3, side, side), [(side, side)]), levels)
        counts = [level.shape[-1] ** 2 * n for level, n in zip(levels, (4, 6, 6, 6, 4, 4), strict=True)]
        for level, part in zip(levels, boxes.split(counts), strict=True):
            cells = level.shape[-1]
            centres = ((part[:, :2] + part[:, 2:]) / 2).flatten().round(decimals=2).unique()
            np.testing.assert_allclose(centres, (np.arange(cells) + 0.5) * side / cells, atol=0.02)


def test_ssd_takes_vggs_weights() -> None:
    with torch.device("meta"):  # its names and shapes alone
        vgg = torchvision.models.vgg16(init_weights=False).state_dict()
    state = {key: torch.randn(value.shape) if "features" in key else value for key, value in vgg.items()}
    body: Any = ARCHITECTURES["ssd"].build(3, SimpleNamespace(get_state_dict=lambda **_: state)).backbone
    weights = [layer.weight for layer in [*body.features, *body.extra[0]] if isinstance(layer, nn.Conv2d)]
    kernels = [value for key, value in state.items() if "features" in key and value.ndim == 4]
    assert len(weights) == 13
    assert all(torch.equal(one, two) for one, two in zip(weights, kernels, strict=True))


def test_where_imagenet_is_out_of_reach_the_log_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr(LOADED, offline)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        detector = open_detector("torchvision:retinanet")
    (line,) = caplog.messages
    assert "torchvision:retinanet starts from random weights" in line
    assert "resnet50-0676ba61.pth" in line
    assert str(tmp_path / "hub" / "checkpoints") in line
    assert detector.names == ()


def test_a_detector_starts_from_imagenet_and_without_classes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    learned = torchvision.models.resnet50().state_dict()
    monkeypatch.setattr(LOADED, lambda *_, **__: learned)
    detector = open_detector("torchvision:retinanet")
    assert not caplog.messages
    assert detector.image_size == FitConfig.image_size

    body = detector.module.backbone.body.state_dict()
    assert body
    assert all(torch.equal(value, learned[key]) for key, value in body.items())

    (boxes, encoding), (_, other) = detector.scan([picture(0), picture(1)])
    assert len(boxes) == 0
    assert boxes.class_scores.shape == (0, 0)
    assert encoding.shape == (5 * 256,)
    assert np.isfinite(encoding).all()
    assert not np.array_equal(encoding, other)

    data = squares(tmp_path, 1)
    start = detector.module.backbone.body.conv1.weight.clone()
    fitted = detector.fit(data, FitConfig(epochs=1, min_steps=1, batch=1, image_size=SIDE, learning_rate=0.0))
    assert isinstance(fitted, TorchvisionDetector)
    assert fitted.names == data.names
    torch.testing.assert_close(fitted.module.backbone.body.conv1.weight, start.half().float())


def test_a_large_backbone_learns_at_a_slower_pace() -> None:
    """The same configuration serves YOLO, which learns from nothing."""
    detector = TorchvisionDetector.new("tiny-ssd", ("a",), SIDE)
    learner = Learner(detector, learning_rate=1e-3)
    assert [group["lr"] for group in learner.optimizer.param_groups] == [pytest.approx(1e-4)] * 2


def test_an_unknown_architecture_is_answered_with_the_known() -> None:
    with pytest.raises(WeightsError, match="'torchvision:nonsense': not one of 'torchvision:retinanet', "):
        open_detector("torchvision:nonsense")
    assert {"torchvision:retinanet", "torchvision:ssd", "torchvision:fasterrcnn"} <= set(openable())


def imported_at_once(module: str) -> set[str]:
    """What a module imports as soon as it is imported itself, and what that imports."""
    modules, waiting = set(), {module}
    while waiting:
        name = waiting.pop()
        modules.add(name)
        file = Path(*name.split(".")).with_suffix(".py")
        for line in ast.parse(file.read_text()).body if file.exists() else ():
            if isinstance(line, ast.ImportFrom):
                waiting |= {str(line.module)} - modules
            elif isinstance(line, ast.Import):
                waiting |= {alias.name for alias in line.names} - modules
    return modules


def test_the_family_works_without_ultralytics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its licence is another: who uses torchvision's detectors need not have it."""
    monkeypatch.chdir(Path(__file__).parents[3])
    assert "ultralytics" in imported_at_once("model.detectors.yolo")
    for module in ("model.detectors.torchvision", "model.detectors.learner", "agent.inner_loop.surrogate"):
        names = imported_at_once(module)
        assert "model.detectors.network" in names
        assert not [name for name in names if name.startswith("ultralytics")]
    TorchvisionDetector.new("tiny-ssd", ("a",), SIDE).save(tmp_path / "weights.pt")
    monkeypatch.setitem(sys.modules, "model.detectors.yolo", None)  # an import of it would fail
    assert open_detector(tmp_path / "weights.pt").names == ("a",)

"""The ultralytics family: YOLOv8, 11, 12, 26 and RT-DETR behind the `Detector` interface."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch

import model.environment  # noqa: F401

# isort: split
import ultralytics
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel, torch_safe_load, yaml_model_load
from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset
from ultralytics.utils.nms import non_max_suppression

from model.detectors.base import WeightsError
from model.detectors.network import MAX_BOXES, Boxes, NetworkDetector
from model.detectors.precision import autocast, float32
from model.detectors.recomputed import as_published, recompute
from model.detectors.training import Sample

log = logging.getLogger(__name__)

NMS_IOU = 0.7  # ultralytics' own default

# The layers that have a row for each class: the last convolutions of YOLO's heads, RT-DETR's score heads and embedding.
PER_CLASS = re.compile(r"(cv3\.\d+\.2|score_head(\.\d+)?|class_embed)\.(weight|bias)$")


def is_published(name: str) -> bool:
    """Whether ultralytics publishes a checkpoint of this name."""
    return name in GITHUB_ASSETS_NAMES


def download(name: str) -> Path | None:
    """Fetch a published checkpoint into ultralytics' weights directory; None where the network does not allow it."""
    try:
        path = Path(attempt_download_asset(ultralytics.settings["weights_dir"] + f"/{name}"))
    except Exception as error:  # noqa: BLE001 - ultralytics raises whatever its HTTP stack raises
        log.info("%s: download failed: %s", name, error)
        return None
    return path if path.exists() else None


class YoloDetector(NetworkDetector):
    """A detector on an ultralytics detection model (`torch.nn.Module`)."""

    def __init__(self, module: Any, image_size: int, device: str | None = None) -> None:
        super().__init__(module, (str(module.names[k]) for k in range(len(module.names))), image_size, device)

    @classmethod
    def new(
        cls,
        architecture: str | dict[str, Any],
        names: Iterable[str],
        image_size: int,
        seed: int = 0,
        device: str | None = None,
    ) -> YoloDetector:
        """An untrained detector of an ultralytics architecture: "yolo11n.yaml", a path, or what such a file holds."""
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            names = tuple(names)
            # a copy, because the model keeps the dictionary and writes its own number of classes into it
            layers = copy.deepcopy(architecture) if isinstance(architecture, dict) else yaml_model_load(architecture)
            kind = RTDETRDetectionModel if layers["head"][-1][2] == "RTDETRDecoder" else DetectionModel
            return cls(_named(kind(layers, nc=len(names), verbose=False), names), image_size, device)

    @classmethod
    def load(cls, path: str | Path, *, device: str | None = None) -> YoloDetector:
        """Open an ultralytics checkpoint. Only known model classes are unpickled, so a hostile file cannot run code."""
        try:
            with TemporaryDirectory() as directory:
                plain = Path(
                    directory, "weights.pt"
                )  # ultralytics drops apostrophes from a path, and renames some files
                plain.symlink_to(Path(path).resolve())
                checkpoint, _ = torch_safe_load(str(plain), safe_only=True)
            module = checkpoint.get("ema") or checkpoint["model"]
            if type(module) not in (DetectionModel, RTDETRDetectionModel):  # their subclasses segment, pose, ...
                raise TypeError(f"holds a {type(module).__name__}, not a detection model")
        except Exception as error:  # torch, pickle and ultralytics each have their own
            raise WeightsError(f"weights {str(path)!r} cannot be opened as an ultralytics detector: {error}") from error
        return cls(module, int(checkpoint.get("train_args", {}).get("imgsz", 640)), device)

    def save(self, path: str | Path) -> None:
        """Write an ultralytics checkpoint in half precision; `ultralytics.YOLO(path)` opens it too."""
        checkpoint = {
            "model": self.copy().module.cpu().half(),
            "train_args": {"imgsz": self.image_size, "task": "detect"},
            "date": datetime.now(UTC).isoformat(),
            "version": ultralytics.__version__,
        }
        torch.save(checkpoint, path)

    def copy(self) -> Self:
        """See `NetworkDetector.copy`. The loss that ultralytics keeps in a module belongs to that module's training."""
        twin = super().copy()
        twin.module.criterion = None
        as_published(twin.module)
        return twin

    def untrained(self, names: Sequence[str], image_size: int, seed: int) -> YoloDetector:
        """See `NetworkDetector.untrained`."""
        return YoloDetector.new(self.module.yaml, names, image_size, seed, str(self.device))

    def body(self) -> Iterable[torch.nn.Module]:
        """Every layer but the last."""
        return self.module.model[:-1]

    def levels(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """See `NetworkDetector.levels`: ultralytics' forward pass, up to the head."""
        *body, head = self.module.model
        x: Any = pictures.to(self.device).float() / 255
        outputs: list[torch.Tensor | None] = []
        for layer in body:
            if layer.f != -1:  # which earlier layers' outputs it takes
                x = outputs[layer.f] if isinstance(layer.f, int) else [x if k == -1 else outputs[k] for k in layer.f]
            x = layer(x)
            outputs.append(x if layer.i in self.module.save else None)
        return [x if k == -1 else outputs[k] for k in head.f]

    def boxes(self, levels: list[torch.Tensor], threshold: float) -> list[Boxes]:
        """See `NetworkDetector.boxes`, after ultralytics' own suppression."""
        outputs, details = self.module.model[-1](list(levels))
        rtdetr = isinstance(self.module, RTDETRDetectionModel)
        if rtdetr:
            # `outputs` keeps one class a box; the last layer has (B, queries, 4) in fractions, (B, queries, C) logits
            xywh, logits = details[0][-1], details[1][-1]
            outputs = torch.cat([xywh * self.image_size, logits.sigmoid()], dim=2).transpose(1, 2)
        boxes = []
        for raw in outputs.float().cpu():  # (4 + C, anchors): boxes xywh in the square's pixels, class scores
            (rows,), (anchors,) = non_max_suppression(
                raw[None],
                threshold,
                1.0 if rtdetr else NMS_IOU,  # a set predictor: nothing to suppress
                max_det=MAX_BOXES,
                nc=len(self.names),
                return_idxs=True,
            )
            class_scores = raw[4:, anchors.long().flatten()].T
            boxes.append(Boxes(rows[:, :4], rows[:, 4], rows[:, 5].long(), class_scores))
        return boxes

    def loss(self, samples: Sequence[Sample], levels: list[torch.Tensor] | None = None) -> torch.Tensor:
        """See `NetworkDetector.loss`."""
        batch = {key: value.to(self.device) for key, value in collate(samples, self.image_size).items()}
        if isinstance(self.module, RTDETRDetectionModel):  # its head asks for the labels too
            return self.module.loss(batch)[0].sum()
        with autocast():
            outputs = self.module(batch["img"]) if levels is None else self.module.model[-1](list(levels))
        return self.module.loss(batch, float32(outputs))[0].sum()

    def by_class(self, key: str, value: torch.Tensor) -> torch.Tensor | None:
        """See `NetworkDetector.by_class`."""
        return value if PER_CLASS.search(key) else None

    def teacher(self) -> Self:
        """See `NetworkDetector.teacher`."""
        twin = super().teacher()
        # YOLO10 and 26: the one-to-many head gives every class's score; fusing drops the head not chosen
        twin.module.end2end = False
        return twin

    def student(self, *, frozen: bool = False) -> Self:
        """See `NetworkDetector.student`."""
        twin = super().student(frozen=frozen)
        twin.module.args = get_cfg()  # the loss weights of ultralytics' default configuration
        # the boxes' distribution decodes by fixed weights, which are no weights to learn
        for name, parameter in twin.module.named_parameters():
            if ".dfl." in name:
                parameter.requires_grad_(False)
        if self.device.type == "cpu":
            recompute(twin.module)
        return twin

    def _ready(self) -> Self:
        twin = self.teacher()
        twin.module = twin.module.fuse(verbose=False).eval()
        return twin


def collate(samples: Sequence[Sample], size: int) -> dict[str, torch.Tensor]:
    """A batch in the form that ultralytics' losses take (boxes as xywh fractions)."""
    pictures, boxes, classes = zip(*samples, strict=True)
    xyxy = torch.cat(boxes).as_subclass(torch.Tensor).float() / size
    counts = torch.tensor([len(labels) for labels in classes])
    return {
        "img": torch.stack(pictures).float() / 255,
        "bboxes": torch.cat([(xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]], dim=1),
        "cls": torch.cat(classes).float()[:, None],
        "batch_idx": torch.repeat_interleave(torch.arange(len(samples)), counts).float(),
    }


def _named(module: Any, names: tuple[str, ...]) -> Any:
    module.names = dict(enumerate(names))
    module.nc = len(names)  # RT-DETR's loss asks for it
    return module

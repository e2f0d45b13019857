"""The ultralytics family: YOLOv8, 11, 12, 26 and RT-DETR behind the `Detector` interface."""

from __future__ import annotations

import copy
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

os.environ.setdefault("YOLO_AUTOINSTALL", "false")  # never install packages behind an operator's back
os.environ.setdefault("YOLO_VERBOSE", "false")
os.environ["ULTRALYTICS_SAFE_LOAD"] = "true"  # `fit` builds from the checkpoint's own layer list: never eval it

import ultralytics
from ultralytics.cfg import get_cfg
from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel, torch_safe_load, yaml_model_load
from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, attempt_download_asset
from ultralytics.utils.nms import non_max_suppression

from model.dataset import Dataset
from model.detections import Detections
from model.detector import Detector, FitConfig, Picture, WeightsError
from model.images import letterbox, load_image
from model.progress import Report, silent
from model.training import train

log = logging.getLogger(__name__)

MAX_BOXES = 300
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


class YoloDetector(Detector):
    """A detector on an ultralytics detection model (`torch.nn.Module`)."""

    def __init__(self, module: Any, image_size: int, device: str | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.module = module.float().eval()
        self.image_size = image_size
        self.names = tuple(str(module.names[k]) for k in range(len(module.names)))
        self._lock = threading.Lock()  # heads cache their anchors while they run
        self._serving: Any = None

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
            checkpoint, _ = torch_safe_load(str(path), safe_only=True)
            module = checkpoint.get("ema") or checkpoint["model"]
            if type(module) not in (DetectionModel, RTDETRDetectionModel):  # their subclasses segment, pose, ...
                raise TypeError(f"holds a {type(module).__name__}, not a detection model")
        except Exception as error:  # torch, pickle and ultralytics each have their own
            raise WeightsError(f"weights {str(path)!r} cannot be opened as an ultralytics detector: {error}") from error
        return cls(module, int(checkpoint.get("train_args", {}).get("imgsz", 640)), device)

    def save(self, path: str | Path) -> None:
        """Write an ultralytics checkpoint in half precision; `ultralytics.YOLO(path)` opens it too."""
        module = copy.deepcopy(self.module).cpu().half()
        module.criterion = None
        checkpoint = {
            "model": module,
            "train_args": {"imgsz": self.image_size, "task": "detect"},
            "date": datetime.now(UTC).isoformat(),
            "version": ultralytics.__version__,
        }
        torch.save(checkpoint, path)

    def scan(
        self, pictures: Iterable[Picture], *, batch: int = 16, threshold: float = 0.001
    ) -> Iterator[tuple[Detections, np.ndarray]]:
        """See `Detector.scan`. Encodings are the mean of each feature map that enters the head."""
        pictures = iter(pictures)
        while chunk := list(islice(pictures, batch)):
            images = [p if isinstance(p, np.ndarray) else load_image(p) for p in chunk]
            squares, scales, offsets = zip(*(letterbox(image, self.image_size) for image in images), strict=True)
            x = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float().div_(255)
            raw, encodings = self._forward(x)
            for k, image in enumerate(images):
                size = (image.shape[1], image.shape[0])
                yield self._decode(raw[k], scales[k], offsets[k], size, threshold), encodings[k]

    def fit(
        self,
        dataset: Dataset,
        config: FitConfig | None = None,
        *,
        from_scratch: bool = False,
        report: Report = silent,
    ) -> YoloDetector:
        """See `Detector.fit`. Layers that do not depend on the classes start from this detector's weights, and so do
        the classes that both know by name; the rest, or with `from_scratch` everything, starts anew."""
        config = config or FitConfig(image_size=self.image_size)
        student = YoloDetector.new(
            self.module.yaml, dataset.names, config.image_size, config.seed, device=str(self.device)
        )
        if not from_scratch:
            _transfer(self.module, self.names, student.module, student.names)
        student.module.to(self.device)
        student.module.args = get_cfg()  # the loss weights of ultralytics' default configuration
        train(student.module, dataset, config, report)
        student.module.criterion = None
        student.module.eval().cpu().half().float()  # what `save` writes, so that the metrics are the saved file's
        return student

    def _forward(self, x: torch.Tensor) -> tuple[torch.Tensor, np.ndarray]:
        """Class scores and boxes in network pixels (B, 4 + C, anchors), xywh; and encodings (B, D)."""
        with self._lock, torch.inference_mode():
            if self._serving is None:
                serving = copy.deepcopy(self.module)
                # YOLO10 and 26: the one-to-many head gives every class's score; fusing drops the head not chosen
                serving.end2end = False
                self._serving = serving.fuse(verbose=False).eval().to(self.device)
            levels: list[torch.Tensor] = []
            hook = self._serving.model[-1].register_forward_pre_hook(lambda _, inputs: levels.extend(inputs[0]))
            try:
                ready = infer(self._serving, x.to(self.device), self.image_size)
            finally:
                hook.remove()
            encodings = torch.cat([level.mean(dim=(2, 3)) for level in levels], dim=1)
        return ready.float().cpu(), encodings.float().cpu().numpy()

    def _decode(
        self,
        raw: torch.Tensor,
        scale: float,
        offset: tuple[float, float],
        size: tuple[int, int],
        threshold: float,
    ) -> Detections:
        rows, kept = as_rows(raw, self.module, threshold)
        if not len(rows):
            return Detections.empty(len(self.names), size)
        xyxy = (rows[:, :4].numpy() - np.array([*offset, *offset], np.float32)) / np.float32(scale)
        xyxy = np.clip(xyxy, 0, np.array([*size, *size], np.float32))
        solid = (xyxy[:, 2] - xyxy[:, 0] > 0.5) & (xyxy[:, 3] - xyxy[:, 1] > 0.5)  # drops what lay in the grey border
        return Detections(
            xyxy[solid],
            rows[:, 4].numpy()[solid],
            rows[:, 5].numpy().astype(np.int64)[solid],
            raw[4:, kept.long()].T.numpy()[solid],
            size,
        )


def infer(module: Any, x: torch.Tensor | list[torch.Tensor], image_size: int) -> torch.Tensor:
    """(B, 4 + C, anchors) boxes xywh in network pixels and class scores, from pictures (B, 3, S, S) in [0, 1] or from
    the levels that enter the head."""
    ready, details = module(x) if isinstance(x, torch.Tensor) else module.model[-1](x)
    if isinstance(module, RTDETRDetectionModel):
        # `ready` keeps one class a box; the last layer has (B, queries, 4) in fractions, (B, queries, C) logits
        boxes, logits = details[0][-1], details[1][-1]
        ready = torch.cat([boxes * image_size, logits.sigmoid()], dim=2).transpose(1, 2)
    return ready


def as_rows(raw: torch.Tensor, module: Any, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """One image's boxes after suppression, (n, 6) xyxy, score, class; and their columns in `raw` (4 + C, anchors)."""
    rtdetr = isinstance(module, RTDETRDetectionModel)  # a set predictor: nothing to suppress
    (rows,), (kept,) = non_max_suppression(
        raw[None], threshold, 1.0 if rtdetr else NMS_IOU, max_det=MAX_BOXES, nc=len(module.names), return_idxs=True
    )
    return rows, kept


def _named(module: Any, names: tuple[str, ...]) -> Any:
    module.names = dict(enumerate(names))
    module.nc = len(names)  # RT-DETR's loss asks for it
    return module


def _transfer(
    old: torch.nn.Module, old_names: tuple[str, ...], new: torch.nn.Module, new_names: tuple[str, ...]
) -> None:
    """Copy every weight of the same shape, and the rows of classes that both models know by name."""
    source, target = old.state_dict(), new.state_dict()
    lower = [name.lower() for name in old_names]
    shared = [(lower.index(name.lower()), k) for k, name in enumerate(new_names) if name.lower() in lower]
    for key, value in target.items():
        other = source.get(key)
        if other is None or other.shape[1:] != value.shape[1:]:
            continue
        if PER_CLASS.search(key):
            for theirs, ours in shared:
                value[ours] = other[theirs]
        elif value.shape == other.shape:
            value.copy_(other)

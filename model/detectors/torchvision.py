"""The torchvision family: RetinaNet, SSD and Faster R-CNN behind the `Detector` interface. No ultralytics in it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torchvision.transforms.v2.functional import normalize

from model.detectors.base import FitConfig, WeightsError
from model.detectors.network import Boxes, NetworkDetector
from model.detectors.torchvision_architectures import ARCHITECTURES
from model.detectors.torchvision_heads import candidates, loss, suppress
from model.detectors.training import Sample

log = logging.getLogger(__name__)

MEAN, DEVIATION = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]  # of ImageNet's pictures, which backbones expect

# The layers that score each anchor of RetinaNet and SSD, one class after the other.
PER_ANCHOR = re.compile(r"\.classification_head\.(cls_logits|module_list\.\d+)\.(weight|bias)$")


class TorchvisionDetector(NetworkDetector):
    """A detector on a torchvision detection model.

    Attributes:
        architecture: a name in `ARCHITECTURES`.
    """

    # AdamW at 2e-3, which is the default, would undo what a large backbone knows. torchvision trained its RetinaNet at
    # 1e-4 (pytorch/vision#5756); a short cycle that ends low may peak higher.
    pace = 0.1

    def __init__(
        self, module: Any, architecture: str, names: Iterable[str], image_size: int, device: str | None = None
    ) -> None:
        super().__init__(module, names, image_size, device)
        self.architecture = architecture
        self.background = ARCHITECTURES[architecture].background

    @classmethod
    def new(
        cls,
        architecture: str,
        names: Iterable[str],
        image_size: int,
        seed: int = 0,
        device: str | None = None,
        *,
        backbone: Any = None,
    ) -> TorchvisionDetector:
        """An untrained detector of an architecture by name; its backbone's weights are random unless given as
        `backbone`, a member of torchvision's enumeration. Raises WeightsError for another name."""
        if architecture not in ARCHITECTURES:
            raise WeightsError(f"'torchvision:{architecture}': not one of {', '.join(map(repr, openable()))}")
        names = tuple(names)
        kind = ARCHITECTURES[architecture]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = kind.build(_columns(names, kind.background), backbone)
        return cls(module, architecture, names, image_size, device)

    @classmethod
    def pretrained(cls, architecture: str, *, device: str | None = None) -> TorchvisionDetector:
        """A detector whose backbone has learned to classify ImageNet, and which knows no class yet: `fit` gives it the
        data's. It finds nothing before, but encodes.

        Detectors that torchvision publishes, trained on COCO, are not used on purpose: they have seen boxes of the
        objects that an experiment in active learning is about to pay labels for.

        The weights come from torch hub's cache or the network; where neither has them, they are random and the log
        says so.
        """
        backbone = imagenet(architecture) if architecture in ARCHITECTURES else None
        return cls.new(architecture, (), FitConfig().image_size, device=device, backbone=backbone)

    @classmethod
    def load(cls, path: str | Path, *, device: str | None = None) -> TorchvisionDetector:
        """Open what `save` wrote. Nothing but numbers and strings is read, so a hostile file cannot run code."""
        content = read(path)
        if content is None:
            raise WeightsError(f"weights {str(path)!r} cannot be opened as a torchvision detector: `save` wrote none")
        try:
            names = tuple(map(str, content["names"]))
            detector = cls.new(content["torchvision"], names, int(content["image_size"]), device=device)
            detector.module.load_state_dict(content["weights"])
        except Exception as error:  # what a file claims may be anything
            raise WeightsError(f"weights {str(path)!r} cannot be opened as a torchvision detector: {error}") from error
        return detector

    def save(self, path: str | Path) -> None:
        """Write the weights in half precision, with what `load` needs to build the network again."""
        weights = {k: v.cpu().half() if v.is_floating_point() else v for k, v in self.module.state_dict().items()}
        content = {"torchvision": self.architecture, "names": list(self.names), "image_size": self.image_size}
        torch.save(content | {"weights": weights}, path)

    def untrained(self, names: Sequence[str], image_size: int, seed: int) -> TorchvisionDetector:
        """See `NetworkDetector.untrained`. The backbone is random too: to start from ImageNet again, fit what
        `pretrained` gave."""
        return TorchvisionDetector.new(self.architecture, names, image_size, seed, str(self.device))

    def body(self) -> Iterable[torch.nn.Module]:
        """The backbone, with its pyramid or its further layers."""
        return [self.module.backbone]

    def levels(self, pictures: torch.Tensor) -> list[torch.Tensor]:
        """See `NetworkDetector.levels`."""
        return list(self.module.backbone(normalize(pictures.to(self.device).float() / 255, MEAN, DEVIATION)).values())

    def boxes(self, levels: list[torch.Tensor], threshold: float) -> list[Boxes]:
        """See `NetworkDetector.boxes`."""
        if not self.names:
            nothing = torch.zeros(0)
            return [Boxes(nothing.view(0, 4), nothing, nothing.long(), nothing.view(0, 0))] * len(levels[0])
        return [
            suppress(self.module, boxes, scores, self.image_size, threshold)
            for boxes, scores in candidates(self.module, levels, self.image_size)
        ]

    def loss(self, samples: Sequence[Sample], levels: list[torch.Tensor] | None = None) -> torch.Tensor:
        """See `NetworkDetector.loss`."""
        if levels is None:
            levels = self.levels(torch.stack([picture for picture, *_ in samples]))
        targets = [
            {"boxes": boxes.to(self.device).float(), "labels": labels.to(self.device) + self.background}
            for _, boxes, labels in samples
        ]
        return loss(self.module, levels, targets, self.image_size) * len(samples)

    def by_class(self, key: str, value: torch.Tensor) -> torch.Tensor | None:
        """See `NetworkDetector.by_class`."""
        columns = _columns(self.names, self.background)
        if ".box_predictor." in key:  # Faster R-CNN: one score or four corners for each class
            return value.view(columns, -1, *value.shape[1:])
        if PER_ANCHOR.search(key):
            return value.view(-1, columns, *value.shape[1:]).transpose(0, 1)
        return None


def openable() -> list[str]:
    """The names of this family that `open_detector` takes."""
    return [f"torchvision:{name}" for name in ARCHITECTURES]


def imagenet(architecture: str) -> Any:
    """The ImageNet weights of an architecture's backbone; None, and a warning, where they cannot be had."""
    weights = ARCHITECTURES[architecture].imagenet
    try:
        weights.get_state_dict(progress=False, check_hash=True, weights_only=True)  # fills torch hub's cache
    except Exception as error:  # noqa: BLE001 - the network, the file and the hash each fail in their own way
        log.warning(
            "torchvision:%s starts from random weights, which need far more labels than ImageNet's: %s could not be "
            "had (%s). To use them, put that file into %s.",
            architecture,
            weights.url,
            error,
            Path(torch.hub.get_dir()) / "checkpoints",
        )
        return None
    return weights


def read(path: str | Path) -> dict[str, Any] | None:
    """What `TorchvisionDetector.save` wrote; None for any other file. No code in it runs."""
    try:
        with ZipFile(path) as archive:  # whose it is stands at its beginning: to read another family's takes a while
            pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            with archive.open(pickled) as beginning:
                if b"torchvision" not in beginning.read(64):
                    return None
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # noqa: BLE001 - torch, zip and pickle each have their own
        return None
    return content if isinstance(content, dict) and "torchvision" in content else None


def _columns(names: tuple[str, ...], background: int) -> int:
    """Of scores. A network without classes has one all the same, which nobody reads: layers cannot be empty."""
    return max(1, len(names)) + background

"""Opening a detector: from a file, by the name of a published checkpoint, or the starter weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from model.detectors.base import WeightsError

if TYPE_CHECKING:
    from model.detectors.network import NetworkDetector

log = logging.getLogger(__name__)

STARTER = Path(__file__).parents[1] / "weights" / "starter.pt"


def open_detector(weights: str | Path, *, device: str | None = None) -> NetworkDetector:
    """A detector from a file, the name of a published checkpoint, "starter", or "torchvision:" and an architecture.

    A published name (`yolo11n.pt`) is fetched by ultralytics where there is a network; where there is none, the starter
    weights serve instead and the log says so. "torchvision:retinanet" is a network whose backbone knows ImageNet and
    whose head is new: see `TorchvisionDetector.pretrained`.

    Raises:
        WeightsError: the file does not exist, or holds no detector; there is no such architecture.
    """
    # torch takes seconds to import: only when a model is needed
    from model.detectors.torchvision import TorchvisionDetector, read

    name = str(weights)
    if name.startswith("torchvision:"):
        return TorchvisionDetector.pretrained(name.removeprefix("torchvision:"), device=device)
    path = file_of(weights)
    if path is None:
        log.warning(
            "%s could not be downloaded: using the starter weights instead. To use it, put the file somewhere and give "
            "its path.",
            weights,
        )
        path = STARTER
    if read(path) is not None:
        return TorchvisionDetector.load(path, device=device)
    from model.detectors.yolo import YoloDetector  # not needed by the torchvision family

    return YoloDetector.load(path, device=device)


def file_of(weights: str | Path) -> Path | None:
    """The file that `open_detector` opens; None for a published checkpoint that could not be downloaded.

    Raises WeightsError where there is no such file.
    """
    path, name = Path(weights), str(weights)
    if name == "starter":
        return STARTER
    if path.exists():
        return path
    from model.detectors.yolo import download, is_published

    if is_published(name):
        return download(name)
    raise WeightsError(
        f"weights {name!r}: no such file, and not the name of a published checkpoint; give the path of a "
        ".pt file, a name such as 'yolo11n.pt', 'torchvision:retinanet', or 'starter'"
    )

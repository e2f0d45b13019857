"""Opening a detector: from a file, by the name of a published checkpoint, or the starter weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from model.detectors.base import WeightsError

if TYPE_CHECKING:
    from model.detectors.network import NetworkDetector

log = logging.getLogger(__name__)

UNPACKED, SPARE = 4, 10_000_000  # times a file's size, and bytes; torch stores what it writes as it is
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
    _check(path)
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


def _check(path: Path) -> None:
    """Raise WeightsError where reading a file would not end, or would take much more memory than it has bytes."""
    if not path.is_file():
        raise WeightsError(f"weights {str(path)!r} cannot be opened: it is no file; give the path of a .pt file")
    try:
        with ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except (BadZipFile, OSError, ValueError, NotImplementedError):  # whoever reads it says what it is
        return
    if unpacked > UNPACKED * path.stat().st_size + SPARE:
        raise WeightsError(f"weights {str(path)!r}: it unpacks to {unpacked / 1e6:.0f} MB, which no file of torch does")

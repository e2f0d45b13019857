"""The detectors in memory, and the first version of a project: loaded once a process and version."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from pathlib import Path

from backend.label_studio.labels import LabelConfig
from backend.settings import Settings
from model.detectors.base import Detector, WeightsError
from model.detectors.open import open_detector
from model.versions import Version, VersionStore

log = logging.getLogger(__name__)

IN_MEMORY = 2  # versions; serving and the one before

_detectors: OrderedDict[Path, Detector] = OrderedDict()
_loading = threading.Lock()


def store_of(settings: Settings, project: int) -> VersionStore:
    """The versions of a project."""
    return VersionStore(settings.model_dir / str(project) / "versions")


def detector_of(version: Version) -> Detector:
    """The version's detector, from memory where it was loaded before."""
    with _loading:
        if version.weights not in _detectors:
            _detectors[version.weights] = open_detector(version.weights)
            while len(_detectors) > IN_MEMORY:
                _detectors.popitem(last=False)
        _detectors.move_to_end(version.weights)
        return _detectors[version.weights]


def first_version(store: VersionStore, settings: Settings, config: LabelConfig) -> Version:
    """The version to start from: the serving one, else one made of the weights that the config or settings name.

    Raises WeightsError where these cannot be opened.
    """
    serving = store.serving()
    if serving is not None:
        return serving
    weights = settings.weights
    if config.model_path:
        root = settings.model_root.resolve()
        path = (root / config.model_path).resolve()
        if not settings.allow_custom_model_path:
            raise WeightsError(
                f"model_path {config.model_path!r}: not allowed here; set ALLOW_CUSTOM_MODEL_PATH=true or remove it"
            )
        if not path.is_relative_to(root) or not path.is_file():
            raise WeightsError(f"model_path {config.model_path!r}: no such file below MODEL_ROOT ({root})")
        weights = str(path)
    detector = open_detector(weights)
    detector.image_size = image_size(settings)
    label_map = config.label_map(detector.names)
    unmatched = "" if label_map else f"; {config.no_match(detector.names)}"
    return store.add_first(detector, label_map, f"starts from {Path(weights).name}{unmatched}")


def image_size(settings: Settings) -> int:
    """IMAGE_SIZE, or what suits the machine: 640 with a GPU, 320 without."""
    if settings.image_size:
        return settings.image_size
    import torch  # seconds to import: only where a model is needed anyway

    return 640 if torch.cuda.is_available() else 320

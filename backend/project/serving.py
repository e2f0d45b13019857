"""Which projects there are; the detectors in memory, and the first version of a project."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from backend.label_studio.labels import LabelConfig
from backend.project.published import FILE, Published
from backend.settings import Settings, get_settings
from model.artefacts import ArtefactsError
from model.damage import DamagedError, warn
from model.detectors.base import Detector, WeightsError
from model.detectors.held import Detectors
from model.detectors.open import STARTER, file_of, open_detector
from model.versions import Version, VersionStore

log = logging.getLogger(__name__)

INSTEAD = (
    "a project that begins now starts from the starter weights; put the file somewhere and set WEIGHTS to its path, or "
    "set WEIGHTS=starter"
)

_detectors = Detectors()


def known_projects(settings: Settings) -> list[int]:
    """Every project with a directory, by number; whatever else lies in MODEL_DIR is none."""
    return sorted(int(name) for name in settings.artefacts.names(kept=True) if re.fullmatch(r"[1-9][0-9]*", name))


def projects(settings: Settings) -> list[int]:
    """Those with a published state, or with what one can be read from where published.json is lost."""
    return [number for number in known_projects(settings) if _is_published(settings, number)]


def _is_published(settings: Settings, project: int) -> bool:
    try:
        return settings.artefacts.exists(f"{project}/{FILE}") or published_of(settings, project).current() is not None
    except ArtefactsError:
        raise
    except OSError:  # what is wrong is told by whoever reads it
        return True


def store_of(settings: Settings, project: int) -> VersionStore:
    """The versions of a project."""
    return VersionStore(settings.artefacts.local / str(project) / "versions", settings.artefacts)


def published_of(settings: Settings, project: int) -> Published:
    """The published states of a project."""
    return Published(settings.artefacts.local / str(project), settings.artefacts)


def detector_of(version: Version) -> Detector:
    """The version's detector, from memory where it was loaded before.

    Raises DamagedError where its weights are not those that were saved.
    """

    def load() -> Detector:
        weights = version.weights
        version.check()
        return open_detector(weights)

    return _detectors.get(version.path, load, get_settings().detectors_in_memory)


def named_of(store: VersionStore) -> Version | None:
    """The version that is to serve; its weights are not looked at. Raises VersionError where it cannot be read."""
    name = store.named()
    return store.get(name) if name is not None else None


def serving_of(store: VersionStore, published: Published) -> Version | None:
    """The version that serves; where serving.json is lost, the one that annotators were shown last serves again."""
    serving = store.serving()
    if serving is None and store.lost():
        served = [entry.version for entry in published.history()] or [v.name for v in store.list() if _may_serve(v)]
        serving = store.restore(served)
    return serving


def first_version(store: VersionStore, settings: Settings, config: LabelConfig, published: Published) -> Version:
    """The version to start from: the serving one, else one made of the weights that the config or settings name.

    Raises:
        DamagedError: there are trained versions, and all of those that served are damaged.
        WeightsError: the weights cannot be opened.
    """
    serving = serving_of(store, published)
    if serving is not None:
        return serving
    if damages := list(store.damages()):
        if store.trained():
            raise DamagedError(damages[-1])  # starting anew would show annotators what never learned from them
        warn(f"{damages[-1]}; nothing was trained yet, so the project starts from its weights once more")
    detector, name = _opened(_starting_weights(settings, config))
    detector.image_size = image_size(settings)
    label_map = config.label_map(detector.names)
    unmatched = "" if label_map else f"; {config.no_match(detector.names)}"
    return store.add_first(detector, label_map, f"starts from {name}{unmatched}")


def untrained_of(store: VersionStore, settings: Settings, config: LabelConfig) -> Detector:
    """The detector that the project started from; opened anew where its version is damaged, or was pruned by an
    earlier release."""
    version = store.untrained()
    if version is not None:
        try:
            return detector_of(version)
        except DamagedError as error:
            warn(f"{error}; the weights that it was made of are opened once more")
    detector, _ = _opened(_starting_weights(settings, config))
    detector.image_size = image_size(settings)
    return detector


def _may_serve(version: Version) -> bool:
    """Whether a version was not held back for being worse than the one before it."""
    return not version.note.startswith("kept, not promoted")


def _opened(weights: str) -> tuple[Detector, str]:
    """A detector, and what it is made of, for people: where a published checkpoint is not to be had, the starter."""
    if weights.startswith("torchvision:"):
        return open_detector(weights), weights
    file = file_of(weights)
    if file is not None:
        return open_detector(file), Path(weights).name
    warn(f"{weights} could not be downloaded: {INSTEAD}")
    return open_detector(STARTER), f"{STARTER.name}, because {weights} could not be downloaded"


def _starting_weights(settings: Settings, config: LabelConfig) -> str:
    """What the config or the settings name. Raises WeightsError where the config may not, or names no file."""
    if config.model_path:
        root, named = settings.model_root.resolve(), f"model_path {config.model_path[:100]!r}"
        if not settings.allow_custom_model_path:
            raise WeightsError(f"{named}: not allowed here; set ALLOW_CUSTOM_MODEL_PATH=true or remove it")
        try:
            path = (root / config.model_path).resolve()
            found = path.is_relative_to(root) and path.is_file()
        except (
            OSError,
            ValueError,
            RuntimeError,
        ):  # too long, no text of the file system's, links in a circle
            found = False
        if not found:
            raise WeightsError(f"{named}: no such file below MODEL_ROOT ({root})")
        return str(path)
    return settings.weights


def image_size(settings: Settings) -> int:
    """IMAGE_SIZE, or what suits the machine: 640 with a GPU, 320 without."""
    if settings.image_size:
        return settings.image_size
    import torch  # seconds to import: only where a model is needed anyway

    return 640 if torch.cuda.is_available() else 320

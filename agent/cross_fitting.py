"""Whether a new version is better, while the holdout is too small to tell: each labeled image is held out once.

The holdout is a fifth of the labels, so for a project's first hundred labels it tells nothing. But other images can be
held out of another training. Each version gets two doubles, each trained like it, without one of two halves of what the
version learned from. So every labeled image is judged by a detector that never saw it: the version itself, or a double.
A double starts from the same double of the version's parent, and the first of them from what the project started from;
it never learned from an image of its half at any time. The version and its parent are compared by their doubles: K-fold
cross-validation (Stone 1974) of the step from one version to the next.

Doubles learn from three fifths of the labels and versions from four, so both scores are a little low; what is told is
their difference.

    VERSION/cross_fitting.npz            an `agent.holdout.Holdout` of all labeled images
    VERSION/without_1.pt, without_2.pt   its doubles
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from agent.holdout import FEWEST_BOXES, FEWEST_IMAGES, Compared, Holdout
from agent.holdout import FILE as HOLDOUT
from agent.learning import TRAINED_ON, enough, train
from model.atomic import remove, write_file
from model.damage import SIGNS
from model.data.dataset import HOLDOUT as SHARE
from model.data.dataset import Dataset, place_of
from model.data.detections import Detections
from model.detectors.base import Detector, FitConfig, WeightsError
from model.detectors.open import open_detector
from model.evaluate import Metrics, detect
from model.progress import Watch
from model.versions import Version, VersionError, VersionStore

log = logging.getLogger(__name__)

FILE = "cross_fitting.npz"
GROUPS = 3  # the holdout, and two halves of the rest
STAGE = "cross-fit"


class CrossFittingError(LookupError):
    """A version that cannot be cross-fitted; one line that says why."""


def group_of(image_id: int) -> int:
    """0 in the holdout, else 1 or 2; like the holdout it follows from the id alone.

    >>> [group_of(number) for number in (4, 7, 1, 2)]
    [0, 0, 2, 2]
    """
    place = place_of(image_id)
    return 0 if place < SHARE else 1 if place < SHARE + (1 - SHARE) / 2 else 2


def why_not(metrics: Metrics | None, labeled: Dataset) -> str:
    """Why a version needs no cross-fitting, or cannot have it; "" where it is worth its time.

    Args:
        metrics: of the version on its holdout; None without one.
        labeled: what it learned from and was measured on.
    """
    if metrics and enough(metrics):
        return f"the holdout tells by itself ({metrics.images} images, {metrics.boxes} boxes)"
    if len(labeled) < FEWEST_IMAGES or labeled.boxes < FEWEST_BOXES:
        return (
            f"{len(labeled)} labeled images with {labeled.boxes} boxes are too few to call a model better, however "
            f"they are held out: {FEWEST_IMAGES} and {FEWEST_BOXES} are needed"
        )
    return ""


@dataclass(frozen=True)
class CrossFitting:
    """Judges versions on all labeled images, each by a detector that never saw it.

    Attributes:
        folder: keeps what is trained until it is stored, so that an interrupted training goes on.
        store: the project's versions.
        fit: how the versions were trained.
        watch: told how far it is; what it raises to end the work is let through.
    """

    folder: Path
    store: VersionStore
    fit: FitConfig
    watch: Watch

    def compare(self, version: Version, labeled: Dataset) -> Holdout:
        """What the version and its parent find in every labeled image without having seen it; kept with the version.

        Where earlier versions have no doubles, these are trained first.

        Raises:
            CrossFittingError: its parent is gone, it is not known what it learned from, or no box is left to train on.
            TrainingError: a training ended in something that is no number.
        """
        if version.parent is None:
            raise CrossFittingError(f"{version.name} has learned from no label")
        parent = self._get(version.parent)
        found: dict[int, Detections] = {}
        before: dict[int, Detections] = {}
        for group in range(GROUPS):
            images = tuple(image for image in labeled.images if group_of(image.id) == group)
            held = Dataset(images, labeled.names)
            for of, boxes in ((version, found), (parent, before)):
                detections = self._detect(self._without(group, of, labeled), of, held)
                boxes.update(zip((image.id for image in images), detections, strict=True))
        ids = [image.id for image in labeled.images]
        holdout = Holdout(labeled, [found[k] for k in ids], [before[k] for k in ids])
        self.store.write(version.name, FILE, holdout.to_bytes())
        return holdout

    def _detect(self, detector: Detector, version: Version, held: Dataset) -> Sequence[Detections]:
        if not len(held):
            return []
        return detect(detector, held, version.label_map, partial(self.watch, "look at what was held out"))

    def _without(self, group: int, version: Version, labeled: Dataset) -> Detector:
        """The version, or its double, that never learned from an image of the group."""
        if not any(group_of(image) == group for image in self._learned(version)):
            return open_detector(version.weights)
        if (double := self._stored(group, version)) is not None:
            return double
        assert version.parent is not None  # what has none learned from nothing
        start = self._without(group, self._get(version.parent), labeled)
        known = set(self._own(version)) | self._held_out(version)
        images = tuple(image for image in labeled.images if image.id in known and group_of(image.id) != group)
        rest = Dataset(images, labeled.names)
        if not rest.boxes:
            raise CrossFittingError(f"no box is left for {version.name} to learn from when a part is held out")
        folder = self._folder(group, version)
        double, _ = train(folder, start, rest, self.fit, partial(self.watch, STAGE))
        double.save(folder / _weights(group))
        self.store.write(version.name, _weights(group), (folder / _weights(group)).read_bytes())
        remove(folder)
        return double

    def _stored(self, group: int, version: Version) -> Detector | None:
        """The double that was trained before; None where there is none, or it is damaged."""
        file = self._folder(group, version) / _weights(group)
        try:
            write_file(file, self.store.read(version.name, _weights(group)))
            return open_detector(file)
        except VersionError:
            return None
        except (WeightsError, *SIGNS) as error:
            log.warning("%s; it is trained once more", error)
            return None
        finally:
            remove(file)  # the version has it

    def _folder(self, group: int, version: Version) -> Path:
        folder = self.folder / f"{version.name}-{group}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _learned(self, version: Version) -> set[int]:
        """Ids of all images that a version or one of its ancestors was trained on."""
        return {image for one in self._line(version) for image in self._own(one)}

    def _line(self, version: Version) -> Iterator[Version]:
        """The version and its ancestors, as far as they are kept."""
        while True:
            yield version
            try:
                version = self._get(version.parent or "")
            except CrossFittingError:
                return

    def _own(self, version: Version) -> list[int]:
        if version.parent is None:
            return []
        try:
            return list(map(int, json.loads(self.store.read(version.name, TRAINED_ON))))
        except (VersionError, ValueError, TypeError):
            raise CrossFittingError(f"it is not known what {version.name} learned from") from None

    def _held_out(self, version: Version) -> set[int]:
        try:
            return {image.id for image in Holdout.of_bytes(self.store.read(version.name, HOLDOUT)).dataset.images}
        except (
            SIGNS
        ):  # it had none (a VersionError is a KeyError), or it is damaged: its doubles learn from fewer images
            return set()

    def _get(self, name: str) -> Version:
        try:
            return self.store.get(name)
        except VersionError:
            raise CrossFittingError(f"{name}, which it descends from, was deleted (KEEP_VERSIONS)") from None


def word(compared: Compared) -> str:
    """better, worse or undecided: only the whole interval says so."""
    delta = compared.delta.map
    return "better" if delta.low > 0 else "worse" if delta.high < 0 else "undecided"


def sentence(compared: Compared, version: Version) -> str:
    """What came out, for people."""
    said, delta = word(compared), compared.delta.map
    ours, theirs = (max(score, 0) for score in compared.map)
    return (
        f"{version.name} is {'not surely better or worse' if said == 'undecided' else said} than {version.parent}: "
        f"mAP {ours:.3f}, the other {theirs:.3f}; difference {delta.value:+.3f}, 95 % [{delta.low:+.3f}, "
        f"{delta.high:+.3f}] (cross-fitted: each of {compared.images} labeled images held out once, {compared.boxes} "
        "boxes)"
    )


def _weights(group: int) -> str:
    return f"without_{group}.pt"

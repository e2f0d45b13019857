"""The images of a project, as a cycle asks for them. The product and the simulator both answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from model.data.dataset import Dataset
from model.data.detections import Detections
from model.detectors.base import Picture


class Images(Protocol):
    """Every image of a project, labeled or not, by its id."""

    def keys(self) -> Sequence[tuple[int, str]]:
        """(id, content key) of each image, each id once; a key is any string that changes with the picture."""
        ...

    def pictures(self, ids: Sequence[int]) -> Iterable[tuple[int, Picture]]:
        """(id, picture) of the images with these ids, in any order; those that cannot be read are left out."""
        ...

    def contents(self, ids: Sequence[int]) -> Iterable[tuple[int, bytes]]:
        """(id, bytes of the file) of the images with these ids; those that cannot be read are left out."""
        ...


class DetectionSink(Protocol):
    """Who wants the detections of every image that is looked at."""

    def keep(self, image: int, detections: Detections) -> None:
        """Take the detections of one image; they may be held in memory until `flush`."""
        ...

    def flush(self) -> None:
        """Write what is held: from now on these images count as seen, and nobody will look at them again."""
        ...


@dataclass(frozen=True)
class DatasetImages:
    """The images of a data set, which lie in files."""

    dataset: Dataset

    def keys(self) -> Sequence[tuple[int, str]]:
        """See `Images.keys`: a file's path stands for what is in it."""
        return [(image.id, str(image.path)) for image in self.dataset.images]

    def pictures(self, ids: Sequence[int]) -> Iterator[tuple[int, Picture]]:
        """See `Images.pictures`."""
        paths = {image.id: image.path for image in self.dataset.images}
        return ((image, paths[image]) for image in ids)

    def contents(self, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """See `Images.contents`."""
        paths = {image.id: image.path for image in self.dataset.images}
        return ((image, paths[image].read_bytes()) for image in ids)

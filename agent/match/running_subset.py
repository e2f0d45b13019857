"""A subset of a match table's images that grows or shrinks by one image at a time."""

from __future__ import annotations

import numpy as np

from agent.match.layout import Layout
from agent.match.lookup import UnknownImage
from agent.match.query import HEAD, make_work, move_one, score_stale
from agent.match.scores import Scores


class RunningSubset:
    """mAP of a subset, kept up to date at the cost of the classes that the last images touch.

    Made by `MatchTable.running`. Only `scores` computes; images added between two calls share the cost of a class.
    """

    def __init__(self, layout: Layout, names: tuple[str, ...], category_ids: np.ndarray) -> None:
        classes = len(names)
        self._layout, self._names, self._category_ids = layout, names, category_ids
        self._work = make_work(layout)
        self._stale = np.zeros(classes, np.bool_)
        self._answers = np.full(HEAD + classes, -1.0)
        self._images: set[int] = set()
        self._current = True

    def _position(self, image_id: int) -> int:
        ids = self._layout.image_ids
        at = int(ids.searchsorted(image_id))
        if at == len(ids) or ids[at] != image_id:
            raise UnknownImage(f"image {image_id} is not among the {len(ids)} images of this match table")
        return at

    def add(self, image_id: int) -> None:
        """Add an image. Raises UnknownImage if the table does not hold it, ValueError if the subset already does."""
        if image_id in self._images:
            raise ValueError(f"image {image_id} is already in this subset of {len(self)} images")
        move_one(self._position(image_id), 1, self._layout, self._work, self._stale)
        self._images.add(image_id)
        self._current = False

    def remove(self, image_id: int) -> None:
        """Take an image away. Raises UnknownImage, a KeyError, if the subset does not hold it."""
        if image_id not in self._images:
            raise UnknownImage(f"image {image_id} is not in this subset of {len(self)} images")
        move_one(self._position(image_id), -1, self._layout, self._work, self._stale)
        self._images.remove(image_id)
        self._current = False

    def scores(self) -> Scores:
        """What `MatchTable.evaluate` gives for the images now in the subset."""
        if not self._current:
            score_stale(self._stale, self._layout, self._work, self._answers)
            self._current = True
        mean, mean50, mean75 = self._answers[:HEAD].tolist()
        return Scores(mean, mean50, mean75, self._answers[HEAD:].copy(), self._category_ids, self._names)

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._images

    def __len__(self) -> int:
        return len(self._images)

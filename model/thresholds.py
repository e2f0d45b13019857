"""From which score on a box is worth showing to an annotator, class by class, and which of the boxes in one place.

A shown box that is right saves its drawing, and a wrong one has to be deleted. Both take seconds, which `Costs` names:
the best threshold of a class is the one at which its boxes on held-out images cost least. By Bayes that is the score at
which a box is right with probability delete / (delete + draw), .3 with the default costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from model.data.dataset import Dataset, LabeledImage
from model.data.detections import Detections
from model.data.overlap import iou

USUAL = 0.25
"""The threshold of every class where nothing was measured, or too little."""
FOUND = 0.5  # IoU from which on a box is that of an object: it stays, or its sides are pulled into place
PLACE = 0.6  # IoU above which two boxes lie in one place
BORROWED = 20.0
"""Objects of the average class that are put beside each class's own (`python -m bench.corrections`)."""
CAUTION = 1.0  # standard errors by which a threshold must be better than one nearer to USUAL
GRID = np.linspace(0.05, 0.95, 181)
"""Thresholds that are compared: below, an image would be full of boxes; above, hardly any class would show one."""
RIGHT, RELABELED, WRONG = 0, 1, 2


@dataclass(frozen=True)
class Costs:
    """Seconds of an annotator's time.

    Attributes:
        delete: a box that is wrong. By the keystroke-level model (Card, Moran and Newell 1980): 1.35 s to decide, 1.1 s
            to point, .2 s each for the click and the key. Another label is as much: a click, and the label's key.
        draw: a box around an object: 7 s for four clicks on its outermost points, 35 s in the traditional way
            (Papadopoulos et al., ICCV 2017).
    """

    delete: float = 3.0
    draw: float = 7.0


@dataclass(frozen=True)
class Thresholds:
    """Which of a detector's boxes are worth showing.

    Attributes:
        default: of classes that have none of their own.
        by_class: class name of the detector -> the score from which on its boxes are shown.
        alone: whether of the boxes in one place only the surest is shown.
    """

    default: float = USUAL
    by_class: Mapping[str, float] = field(default_factory=dict)
    alone: bool = False

    def of(self, name: str) -> float:
        """Of a class."""
        return self.by_class.get(name, self.default)

    def __str__(self) -> str:
        """Changes with what is shown; a number where there is no more to say."""
        more = f" {sorted(self.by_class.items())}" if self.by_class else ""
        return f"{self.default}{more}{' one a place' if self.alone else ''}"


@dataclass(frozen=True)
class Corrections:
    """What annotators have to correct in some images, as means an image.

    Attributes:
        right: boxes of an object of their label.
        relabeled: boxes of an object of another label.
        deleted: boxes of no object, or of one that has a surer box.
        drawn: objects without a box.
        seconds: what the last three cost.
    """

    right: float
    relabeled: float
    deleted: float
    drawn: float
    seconds: float

    @property
    def count(self) -> float:
        """Corrections an image."""
        return self.relabeled + self.deleted + self.drawn


def one_a_place(detections: Detections) -> Detections:
    """Of boxes that overlap by more than PLACE only the surest, whatever its class.

    >>> corners = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], np.float32)
    >>> scores = np.array([0.5, 0.75, 0.25], np.float32)
    >>> one_a_place(Detections(corners, scores, np.array([0, 1, 0]), np.zeros((3, 2)), (100, 100))).scores.tolist()
    [0.75, 0.25]
    """
    order = np.argsort(-detections.scores, kind="stable")
    overlap = iou(detections.xyxy[order], detections.xyxy[order])
    stays = np.ones(len(order), bool)
    for place in range(len(order)):
        if stays[place]:
            stays[place + 1 :] &= overlap[place, place + 1 :] <= PLACE
    return _take(detections, order[stays])


def shown(detections: Detections, least: np.ndarray, *, alone: bool = True) -> Detections:
    """The boxes that score at least their class's threshold, `least` (C,); infinite of a class that has no label.

    Args:
        alone: show one box a place. Which it is does not depend on the thresholds, so that each can be chosen alone.
    """
    own = np.isfinite(least[detections.class_ids]) & (detections.scores >= least.min(initial=np.inf))
    chosen = _take(detections, np.flatnonzero(own))
    chosen = one_a_place(chosen) if alone else chosen
    return _take(chosen, np.flatnonzero(chosen.scores >= least[chosen.class_ids]))


def learn_thresholds(
    holdout: Dataset,
    detections: Sequence[Detections],
    costs: Costs | None = None,
    borrowed: float = BORROWED,
    caution: float = CAUTION,
) -> dict[str, float]:
    """Class name -> the threshold at which its boxes cost annotators least, where one box a place is shown.

    A class of few objects follows the average class: to the seconds of its own boxes, those of `borrowed` objects of
    the average class are added. And none moves further from USUAL than the holdout speaks for: of the thresholds that
    cost no more than the best one and `caution` standard errors, over the images, of the difference, the nearest to
    USUAL is taken.

    Args:
        holdout: images that the detector did not learn from.
        detections: of each of its images, in classes of `holdout.names`.
    """
    costs = costs or Costs()
    value = np.array([-costs.draw, costs.delete - costs.draw, costs.delete])
    places = [one_a_place(found.above(float(GRID[0]))) for found in detections]
    fates = [fates_of(image, boxes) for image, boxes in zip(holdout.images, places, strict=True)]
    images = np.repeat(np.arange(len(places)), [len(boxes) for boxes in places])
    scores = np.concatenate([np.zeros(0), *(boxes.scores for boxes in places)])
    classes = np.concatenate([np.zeros(0, np.int64), *(boxes.class_ids for boxes in places)])
    seconds = value[np.concatenate([np.zeros(0, np.int64), *fates])]

    def curves(rows: np.ndarray) -> np.ndarray:
        """(images, 181) what some of the boxes cost in each image by the threshold from which on they are shown."""
        cost = np.zeros((len(places), len(GRID) + 1))
        np.add.at(cost, (images[rows], np.searchsorted(GRID, scores[rows], side="right")), seconds[rows])
        return np.cumsum(cost[:, ::-1], axis=1)[:, ::-1][:, 1:]

    average = curves(np.arange(len(scores))) / max(holdout.boxes, 1)
    own = (curves(np.flatnonzero(classes == k)) for k in range(len(holdout.names)))
    return {name: _least(one + borrowed * average, caution) for name, one in zip(holdout.names, own, strict=True)}


def corrections(dataset: Dataset, boxes: Sequence[Detections], costs: Costs | None = None) -> Corrections:
    """What annotators who are shown `boxes` have to correct in images whose true boxes are known."""
    costs = costs or Costs()
    fates = [fates_of(image, one) for image, one in zip(dataset.images, boxes, strict=True)]
    right, relabeled, wrong = np.bincount(np.concatenate([np.zeros(0, np.int64), *fates]), minlength=3).tolist()
    drawn = sum(int((~image.crowd).sum()) for image in dataset.images) - right - relabeled
    seconds = costs.delete * (relabeled + wrong) + costs.draw * drawn
    images = max(len(dataset), 1)
    return Corrections(*(number / images for number in (right, relabeled, wrong, drawn, seconds)))


def fates_of(image: LabeledImage, boxes: Detections) -> np.ndarray:
    """(n,) int64 what becomes of each box: RIGHT, RELABELED or WRONG. The surest chooses its object first, and an
    object of its own label before others; regions that stand for many objects are none."""
    truth, labels = image.xyxy[~image.crowd], image.class_ids[~image.crowd]
    overlap = iou(boxes.xyxy, truth)
    free, fates = np.ones(len(truth), bool), np.full(len(boxes), WRONG)
    for row in np.argsort(-boxes.scores, kind="stable"):
        fits = free & (overlap[row] >= FOUND)
        own = fits & (labels == boxes.class_ids[row])
        if fits.any():
            chosen = int(np.where(own if own.any() else fits, overlap[row], -1.0).argmax())
            free[chosen], fates[row] = False, RIGHT if own.any() else RELABELED
    return fates


def _least(cost: np.ndarray, caution: float) -> float:
    """The threshold nearest to USUAL of those that are as good as the best, from costs (images, 181)."""
    more = cost - cost[:, [int(np.argmin(cost.sum(axis=0)))]]
    error = np.sqrt(len(cost) * more.var(axis=0)) if len(cost) else np.zeros(len(GRID))
    good = np.flatnonzero(more.sum(axis=0) <= caution * error + 1e-9)
    return round(float(GRID[good[np.argmin(np.abs(GRID[good] - USUAL))]]), 4)


def _take(detections: Detections, rows: np.ndarray) -> Detections:
    return Detections(
        detections.xyxy[rows],
        detections.scores[rows],
        detections.class_ids[rows],
        detections.class_scores[rows],
        detections.size,
    )

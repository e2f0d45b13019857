"""What an annotation costs: seconds an image and seconds a box, learned from how long people took.

Label Studio's clock runs on while the tab is open and adds up drafts, so that some times are many times too long, and a
mis-click is one of a second. So the fit is robust: annotations far from what the others say count nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

SECONDS_AN_IMAGE, SECONDS_A_BOX, SECONDS_A_KEPT_BOX = 6.0, 7.0, 2.0
"""Before there is enough to learn from: a box by clicks on its four extremes takes 7 s (Papadopoulos et al., "Extreme
clicking", ICCV 2017), to accept or reject one 1.6 s (the same, "We don't need no bounding boxes", CVPR 2016), here with
some correcting. To open and look over an image is set to 6 s."""

FEWEST = 20
"""Annotations with a time from which on a project's own costs are believed."""

NEWEST = 1000
"""Annotations that are looked at: boxes drawn beforehand become better, and people faster."""

DOUBT = 1.0
"""Standard deviation of the logarithm of each default: what is learned may well be e times as much. It decides only
what the annotations do not tell, as where all images hold one box."""

BELIEVED = 5.0  # annotations from which on an annotator's own pace says more than the others'
SHORTEST, LONGEST = 0.1, 86_400.0  # seconds that any annotation is taken to have cost, and any part of one
ROUNDS = 60
CUT = 3.0  # standard deviations beyond which an annotation counts nothing
LEAST_SPREAD = 0.05  # of the logarithm of the seconds: nobody works like a clock


@dataclass(frozen=True)
class LabelingCosts:
    """What labeling an image is expected to take.

        >>> LabelingCosts(image=6.0, box=7.0).seconds(np.array([0.0, 2.0])).tolist()
        [6.0, 20.0]

    Attributes:
        image: seconds of opening it, looking it over and submitting.
        box: seconds more for each box.
    """

    image: float = SECONDS_AN_IMAGE
    box: float = SECONDS_A_BOX

    def __post_init__(self) -> None:
        for name, value in (("an image", self.image), ("a box", self.box)):
            if not 0 < value < np.inf:
                raise ValueError(f"{value} seconds {name}: give a number above 0")

    def seconds(self, boxes: np.ndarray) -> np.ndarray:
        """Of images with so many boxes each."""
        return self.image + self.box * boxes

    def minutes(self, images: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """Of so many images that hold so many boxes together."""
        return (self.image * images + self.box * boxes) / 60


@dataclass(frozen=True)
class Effort:
    """One annotation.

    Attributes:
        seconds: that it took by the annotator's clock, above 0.
        drawn: boxes that were drawn by hand.
        kept: boxes that the detector had drawn beforehand, as they were or corrected.
        annotator: whose it is.
    """

    seconds: float
    drawn: int
    kept: int
    annotator: str = ""


@dataclass(frozen=True)
class LearnedCosts:
    """What a project's annotations say of their costs.

    Attributes:
        image, drawn, kept: seconds of an image, of a box drawn by hand, and of one that was drawn beforehand.
        kept_share: of the boxes, how many were drawn beforehand.
        annotations, annotators: that were learned from.
        learned: whether these were enough; else the seconds are the defaults.
    """

    image: float
    drawn: float
    kept: float
    kept_share: float
    annotations: int
    annotators: int
    learned: bool

    @property
    def costs(self) -> LabelingCosts:
        """For the order: of the boxes to come as many are taken to be drawn beforehand as of the last ones."""
        return LabelingCosts(self.image, self.kept_share * self.kept + (1 - self.kept_share) * self.drawn)

    def __str__(self) -> str:
        if not self.learned:
            return (
                f"an annotation is taken to cost {self.image:.3g} s and {self.drawn:.3g} s a box, until {FEWEST} "
                f"annotations tell how long they took ({self.annotations} do)"
            )
        people = "one person" if self.annotators == 1 else f"{self.annotators} people"
        line = f"an annotation costs {self.image:.3g} s and {self.costs.box:.3g} s a box"
        if self.kept_share:
            line += (
                f" ({self.drawn:.3g} s where it is drawn, {self.kept:.3g} s where the model's is kept, which is so for "
                f"{self.kept_share:.0%})"
            )
        return f"{line}, by {self.annotations} annotations of {people}"

    def to_json(self) -> dict[str, Any]:
        """For `of_json`, and for people: `seconds_a_box` is the mean that the order reckons with."""
        return asdict(self) | {"seconds_a_box": round(self.costs.box, 3)}

    @classmethod
    def of_json(cls, body: Mapping[str, Any]) -> LearnedCosts:
        """What `to_json` gave."""
        return cls(**{name: value for name, value in body.items() if name != "seconds_a_box"})


def learn_costs(efforts: Sequence[Effort]) -> LearnedCosts:
    """The usual seconds of an image and of a box, whatever some annotations say; the newest of `efforts` come last.

    log(seconds) = log(image + drawn * d + kept * k) + pace of the annotator + noise, under Tukey's biweight (Beaton and
    Tukey, 1974), after rounds of Cauchy's weights that find where most annotations lie. The noise is that of a factor,
    because people who take long over an image vary by more seconds. Its scale is that of the side with fewer outliers,
    as most outliers are too long. Each cost is pulled to its default by one standard deviation of DOUBT, which a few
    annotations outweigh. An annotator's pace is a factor of its own, so that it does not matter who got the full
    images; the costs are at the median pace of all annotations, so that a script that answers at once does no harm.

    Fewer than FEWEST efforts give the defaults.
    """
    efforts = efforts[-NEWEST:]
    boxes = sum(effort.drawn + effort.kept for effort in efforts)
    share = sum(effort.kept for effort in efforts) / boxes if boxes else 0.0
    people, who = np.unique([effort.annotator for effort in efforts], return_inverse=True)
    default = SECONDS_AN_IMAGE, SECONDS_A_BOX, SECONDS_A_KEPT_BOX
    if len(efforts) < FEWEST:  # no part is learned, so none of the mixture is
        return LearnedCosts(*default, 0.0, len(efforts), len(people), learned=False)
    counts = np.array([(1, effort.drawn, effort.kept) for effort in efforts], np.float64)
    took = np.log(np.clip([effort.seconds for effort in efforts], SHORTEST, LONGEST))
    image, drawn, kept = np.exp(_fit(counts, took, who, np.log(default))).round(3).tolist()
    return LearnedCosts(image, drawn, kept, round(share, 4), len(efforts), len(people), learned=True)


def _fit(counts: np.ndarray, took: np.ndarray, who: np.ndarray, default: np.ndarray) -> np.ndarray:
    """(3,) logarithms of the costs of what `counts` (n, 3) counts, from logarithms of seconds (n,) by annotators (n,):
    Gauss-Newton steps on reweighted residuals, with the costs' own logarithms as parameters, so that none is negative.
    """
    pace = np.zeros(who.max() + 1)
    theta = default + np.median(took - np.log(counts @ np.exp(default)))
    for turn in range(ROUNDS):
        parts = counts * np.exp(theta)
        off = took - np.log(parts.sum(axis=1)) - pace[who]
        sides = [np.median(np.abs(side)) for side in (off[off < 0], off[off > 0]) if len(side)]
        spread = max(1.4826 * float(min(sides, default=0.0)), LEAST_SPREAD)  # of the side with fewer outliers
        far = off / spread
        if turn < ROUNDS // 2:
            weights = 1 / (1 + far**2)
        else:
            weights = np.where(np.abs(far) < CUT, (1 - (far / CUT) ** 2) ** 2, 0.0)
        slope = parts / parts.sum(axis=1, keepdims=True)
        weighted = slope.T * weights / spread**2
        step = np.linalg.solve(
            weighted @ slope + np.eye(len(theta)) / DOUBT**2, weighted @ off + (default - theta) / DOUBT**2
        )
        step = np.clip(step, -1.0, 1.0)
        pace += np.bincount(who, weights * (off - slope @ step)) / (np.bincount(who, weights) + BELIEVED)
        level = np.median(pace[who])
        pace, theta = pace - level, np.clip(theta + step + level, np.log(SHORTEST), np.log(LONGEST))
    return theta

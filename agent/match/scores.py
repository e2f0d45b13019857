"""What a match table answers: mAP of one query or of many, with intervals, and the difference of two detectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np


@dataclass(frozen=True, eq=False)
class Scores:
    """COCO box metrics of one subset, in [0, 1]; -1.0 where it has no ground truth, as in pycocotools.

    Attributes:
        map: mean over IoU .50:.05:.95 and the classes that have ground truth.
        map50, map75: the same at one IoU.
        ap: (C,) AP (IoU .50:.95) of each category.
        category_ids, names: the categories, in the order of `ap`.
    """

    map: float
    map50: float
    map75: float
    ap: np.ndarray
    category_ids: np.ndarray
    names: tuple[str, ...]

    @cached_property
    def per_class(self) -> dict[int, float]:
        """AP (IoU .50:.95) by category id."""
        return dict(zip(self.category_ids.tolist(), self.ap.tolist(), strict=True))

    def __str__(self) -> str:
        classes = ", ".join(f"{name} {ap:.3f}" for name, ap in zip(self.names, self.ap, strict=True) if ap >= 0)
        return f"mAP {self.map:.3f}  AP50 {self.map50:.3f}  AP75 {self.map75:.3f}  ({classes or 'no ground truth'})"


class ManyScores(Sequence[Scores]):
    """The answers to K queries, in their order: a sequence of `Scores` over three arrays.

    Attributes:
        map, map50, map75: (K,) as in `Scores`.
        ap: (K, C) AP of each category.
    """

    def __init__(self, answers: np.ndarray, category_ids: np.ndarray, names: tuple[str, ...]) -> None:
        self.map, self.map50, self.map75, self.ap = answers[:, 0], answers[:, 1], answers[:, 2], answers[:, 3:]
        self._category_ids, self._names = category_ids, names

    def __len__(self) -> int:
        return len(self.map)

    @overload
    def __getitem__(self, k: int) -> Scores: ...
    @overload
    def __getitem__(self, k: slice) -> list[Scores]: ...
    def __getitem__(self, k: int | slice) -> Scores | list[Scores]:
        if isinstance(k, slice):
            return [self[i] for i in range(*k.indices(len(self)))]
        return Scores(
            float(self.map[k]), float(self.map50[k]), float(self.map75[k]), self.ap[k], self._category_ids, self._names
        )

    def __iter__(self) -> Iterator[Scores]:
        return (self[k] for k in range(len(self)))


@dataclass(frozen=True)
class Estimate:
    """A figure with its bootstrap standard error and percentile interval.

    A resample without ground truth says nothing and is left out; with fewer than two that say something `error`, `low`
    and `high` are nan.
    """

    value: float
    error: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, samples: np.ndarray, level: float) -> Estimate:
        """From the figure itself and its resamples; `level` is the interval's coverage."""
        if len(samples) < 2:
            return cls(value, float("nan"), float("nan"), float("nan"))
        low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
        return cls(value, float(samples.std(ddof=1)), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.error:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """mAP with its sampling error, from resampling the images with replacement (Efron 1979).

    AP comes out higher in resamples, where copies of an image cannot contradict each other, as it does on few images:
    on COCO-like data 1,000 images gave .015 more than 10,000, and their resamples another .006. So the percentile
    intervals are centred on the figure itself. They say where another sample of this size would land (91 to 99 % of
    the time at a level of 95 %), not what all images of the world would give. To compare two detectors use `Delta`.

    Attributes:
        map, map50, map75: estimates.
        per_class: category id -> estimate of its AP.
        samples: the resamples themselves.
        level: coverage of the intervals.
    """

    map: Estimate
    map50: Estimate
    map75: Estimate
    per_class: dict[int, Estimate]
    samples: ManyScores
    level: float

    @classmethod
    def of(cls, scores: Scores, samples: ManyScores, level: float) -> Bootstrap:
        """From the figures of the images themselves and those of the resamples."""

        def estimate(value: float, resamples: np.ndarray) -> Estimate:
            values = resamples[resamples >= 0]
            centred = (values + (value - values.mean())).clip(0, 1) if len(values) else values
            return Estimate.of(value, centred, level)

        return cls(
            estimate(scores.map, samples.map),
            estimate(scores.map50, samples.map50),
            estimate(scores.map75, samples.map75),
            {c: estimate(ap, samples.ap[:, k]) for k, (c, ap) in enumerate(scores.per_class.items())},
            samples,
            level,
        )

    def __str__(self) -> str:
        return (
            f"mAP {self.map}  AP50 {self.map50}  AP75 {self.map75}  ({len(self.samples)} resamples, {self.level:.0%})"
        )


@dataclass(frozen=True, eq=False)
class Delta:
    """mAP of one detector minus that of another, on the same images and the same resamples of them.

    What raises both figures alike cancels: percentile intervals at a level of 95 % held the true difference 91 to 99 %
    of the time, with 200 or 1,000 images and 20 or 80 classes.

    Attributes:
        map, map50, map75: estimates of the difference.
        per_class: category id -> estimate of the difference in AP.
        level: coverage of the intervals.
    """

    map: Estimate
    map50: Estimate
    map75: Estimate
    per_class: dict[int, Estimate]
    level: float

    @classmethod
    def of(cls, ours: Bootstrap, theirs: Bootstrap) -> Delta:
        """From two bootstraps that drew the same resamples."""
        level = ours.level

        def estimate(a: Estimate, b: Estimate, samples_a: np.ndarray, samples_b: np.ndarray) -> Estimate:
            both = (samples_a >= 0) & (samples_b >= 0)
            return Estimate.of(a.value - b.value, (samples_a - samples_b)[both], level)

        a, b = ours.samples, theirs.samples
        return cls(
            estimate(ours.map, theirs.map, a.map, b.map),
            estimate(ours.map50, theirs.map50, a.map50, b.map50),
            estimate(ours.map75, theirs.map75, a.map75, b.map75),
            {
                c: estimate(ours.per_class[c], theirs.per_class[c], a.ap[:, k], b.ap[:, k])
                for k, c in enumerate(ours.per_class)
            },
            level,
        )

    @property
    def better(self) -> bool:
        """Whether the whole interval of the difference in mAP lies above zero."""
        return self.map.low > 0

    @property
    def worse(self) -> bool:
        """Whether the whole interval of the difference in mAP lies below zero."""
        return self.map.high < 0

    def __str__(self) -> str:
        verdict = "better" if self.better else "worse" if self.worse else "undecided"
        return (
            f"mAP {self.map.value:+.3f} ± {self.map.error:.3f} "
            f"[{self.map.low:+.3f}, {self.map.high:+.3f}] at {self.level:.0%}: {verdict}"
        )

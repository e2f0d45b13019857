"""What a query strategy is: it puts a pool in order, gives each image a score, and says why."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np

from agent.pool.pool import Pool
from agent.strategies.explain import Sentences


@dataclass(frozen=True, eq=False)
class Ranking:
    """A pool in the order in which to label it.

    Attributes:
        strategy: name of the strategy that made it.
        budget: images in the batch, at most the pool's size.
        order: (n,) int64, every image id of the pool once, best first. The first `budget` are the batch; the rest
            follow in the order in which they would be wanted next.
        scores: (n,) float64, finite, never rising along `order`. Their scale is the strategy's own.
        reasons: n sentences, why each image stands where it does.
        details: what else is worth keeping with the ranking; plain values, fit for JSON.
    """

    strategy: str
    budget: int
    order: np.ndarray
    scores: np.ndarray
    reasons: Sequence[str]
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.order)
        if self.order.shape != (n,) or self.scores.shape != (n,) or len(self.reasons) != n:
            raise ValueError(
                f"ranking by {self.strategy}: order {self.order.shape}, scores {self.scores.shape} and "
                f"{len(self.reasons)} reasons must agree in length"
            )
        if not 0 <= self.budget <= n:
            raise ValueError(f"ranking by {self.strategy}: budget {self.budget} of {n} images")
        if len(np.unique(self.order)) != n:
            raise ValueError(f"ranking by {self.strategy}: an image occurs twice")
        if not np.isfinite(self.scores).all() or (np.diff(self.scores) > 0).any():
            raise ValueError(f"ranking by {self.strategy}: scores must be finite and never rise along the order")


class Arrangement(NamedTuple):
    """What `Strategy.arrange` returns: rows of a pool, best first, their scores and reasons; `Ranking.details`."""

    rows: np.ndarray
    scores: np.ndarray
    reasons: Sequence[str]
    details: Mapping[str, Any] = MappingProxyType({})


class Strategy(ABC):
    """Puts a pool in order. Holds no state between calls."""

    name: ClassVar[str]

    def rank(self, pool: Pool, budget: int, rng: np.random.Generator) -> Ranking:
        """Order the whole pool; the first `budget` are the batch to label.

        A budget above the pool's size means all of it. The same generator state gives the same ranking. Raises
        ValueError on a negative budget.

        Of two images, the second holds a sign of a class with AP 0.2, so that its box counts 0.9 * (1 - 0.2):

            >>> from agent import strategies
            >>> from model.data.detections import Detections
            >>> corners, score = np.array([[4, 4, 20, 20]]), np.array([[0.9]])
            >>> box = Detections(corners, score[0], np.array([0]), score, size=(64, 48))
            >>> boxes, encodings, labeled = [box.above(1.0), box], np.eye(2), np.zeros((0, 2))
            >>> pool = Pool.from_detections([7, 9], boxes, encodings, ["stop"], labeled, np.array([0.2]))
            >>> ranking = strategies.get("weakness").rank(pool, budget=1, rng=np.random.default_rng(0))
            >>> ranking.order.tolist(), ranking.scores.round(2).tolist()
            ([9, 7], [0.72, 0.0])
            >>> ranking.reasons[0]
            "likely holds one 'stop' object, a class with AP 0.20; weighted by weakness, its boxes count 0.72"
        """
        if budget < 0:
            raise ValueError(f"budget {budget}: give the number of images to label, 0 or more")
        budget = min(int(budget), len(pool))
        if len(pool) == 0:
            return Ranking(self.name, 0, np.zeros(0, np.int64), np.zeros(0), ())
        rows, scores, reasons, details = Arrangement(*self.arrange(pool, budget, rng))
        return Ranking(self.name, budget, pool.ids[rows], np.asarray(scores, np.float64), reasons, details)

    @abstractmethod
    def arrange(
        self, pool: Pool, budget: int, rng: np.random.Generator
    ) -> Arrangement | tuple[np.ndarray, np.ndarray, Sequence[str]]:
        """Rows of a pool of at least one image, best first, with their scores and reasons; budget is 0 to n."""


class Pointwise(Strategy):
    """Scores each image by itself. Among equal scores the more novel image comes first, then the lower id, so that
    the order never depends on how the pool was sorted, and a detector that finds nothing still gets a varied batch."""

    @abstractmethod
    def score(self, pool: Pool) -> np.ndarray:
        """(n,), higher is more wanted."""

    @abstractmethod
    def reason(self, pool: Pool, row: int) -> str:
        """Why the image of this row scores as it does."""

    def arrange(
        self,
        pool: Pool,
        budget: int,  # noqa: ARG002  the whole pool is in order, whatever the budget
        rng: np.random.Generator,  # noqa: ARG002  nothing is left to chance
    ) -> tuple[np.ndarray, np.ndarray, Sequence[str]]:
        score = self.score(pool)
        rows = descending(pool, score)
        return rows, score[rows], Sentences(len(rows), lambda place: self.reason(pool, int(rows[place])))


def descending(pool: Pool, score: np.ndarray) -> np.ndarray:
    """Rows of the pool by falling score; ties as `Pointwise` says."""
    return np.lexsort((pool.ids, -pool.column("novelty"), -score))


_REGISTRY: dict[str, type[Strategy]] = {}

Registered = TypeVar("Registered", bound=type[Strategy])


def register(strategy: Registered) -> Registered:
    """Class decorator: makes a strategy known by its `name`."""
    if strategy.name in _REGISTRY:
        raise ValueError(f"strategy {strategy.name!r} is registered twice: names must differ")
    _REGISTRY[strategy.name] = strategy
    return strategy


def names() -> tuple[str, ...]:
    """Every known strategy, sorted."""
    return tuple(sorted(_REGISTRY))


def get(name: str) -> Strategy:
    """The strategy of this name. Raises ValueError, listing the known names, where there is none."""
    if name not in _REGISTRY:
        raise ValueError(f"strategy {name!r} is not known; choose one of {', '.join(names())}")
    return _REGISTRY[name]()

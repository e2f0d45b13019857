"""Exact mAP of a detector over any subset, or weighting, of images: matched once, then looked up.

COCO matches detections to ground truth within one image and class, so matching does not depend on which images are
asked about. A `MatchTable` does it once and keeps only what any query can still need; a query counts. The results are
pycocotools' (area = all, one maxDets) to the last digits.

    table = MatchTable.build(ground_truth, detections)
    print(table.evaluate([139, 285, 632]))        # mAP 0.412  AP50 0.655  ...
    print(table.bootstrap(1000, rng=0).map)       # 0.431 ± 0.012 [0.407, 0.455]
    print(table.delta(incumbent, rng=0))          # mAP +0.021 ± 0.006 [+0.009, +0.033] at 95%: better
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np

from agent.match import file as table_file
from agent.match.build import make_layout
from agent.match.layout import Layout
from agent.match.lookup import find_images
from agent.match.parse import Parsed, from_coco, from_dataset
from agent.match.query import HEAD, Work, make_work, score_subsets
from agent.match.running_subset import RunningSubset
from agent.match.scores import Bootstrap, Delta, ManyScores, Scores
from agent.match.weighted import score_weightings, tally, whole_weights
from model.data.dataset import Dataset
from model.data.detections import Detections

BLOCK = 128  # weightings drawn at a time, which bounds the memory of a bootstrap


class MatchTable:
    """The matched detections of one detector on N images of C categories.

    Attributes:
        image_ids: (N,) int64, ascending.
        category_ids: (C,) int64, ascending; `names` are theirs.
        detections: how many detections it was built from.
        fingerprint: 64 hex digits that change with any image, box, score or setting it was built from.
        truth_fingerprint: the same for the ground truth alone.
    """

    def __init__(
        self,
        layout: Layout,
        category_ids: np.ndarray,
        names: tuple[str, ...],
        detections: int,
        fingerprint: str,
        truth_fingerprint: str,
    ) -> None:
        self._layout = layout
        self._spare: list[Work] = []  # working memory that no thread uses at the moment
        self.image_ids = layout.image_ids
        self.category_ids = category_ids
        self.names = names
        self.detections = detections
        self.fingerprint = fingerprint
        self.truth_fingerprint = truth_fingerprint

    # -- making -------------------------------------------------------------------------------------------------------

    @classmethod
    def build(cls, ground_truth: dict, detections: list[dict], max_dets: int = 100) -> MatchTable:
        """Match a COCO results list to a COCO instances dict (box IoU, crowds, `max_dets` an image and category).

        Raises ValueError on malformed input and on detections in images that the ground truth does not list.
        """
        return cls._match(from_coco(ground_truth, detections), max_dets)

    @classmethod
    def from_dataset(cls, dataset: Dataset, detections: Sequence[Detections], max_dets: int = 100) -> MatchTable:
        """Match `detections[i]` to `dataset.images[i]`. Category ids are class ids, indices into `dataset.names`."""
        return cls._match(from_dataset(dataset, detections), max_dets)

    @classmethod
    def _match(cls, parsed: Parsed, max_dets: int) -> MatchTable:
        if max_dets < 1:
            raise ValueError(f"max_dets is {max_dets}: it must be at least 1")
        layout = make_layout(parsed, max_dets)
        truth = parsed.truth.digest(parsed.image_ids, parsed.category_ids)
        whole = parsed.detections.digest(np.frombuffer(truth, np.uint8), np.array([max_dets]))
        return cls(layout, parsed.category_ids, parsed.names, len(parsed.detections.image), whole.hex(), truth.hex())

    def save(self, path: str | Path) -> None:
        """Write the table to one file, which appears complete or not at all."""
        about = {
            "category_ids": self.category_ids.tolist(),
            "names": self.names,
            "detections": self.detections,
            "fingerprint": self.fingerprint,
            "truth_fingerprint": self.truth_fingerprint,
        }
        table_file.write(path, self._layout, about)

    @classmethod
    def load(cls, path: str | Path) -> MatchTable:
        """Read what `save` wrote, memory-mapped. Raises ValueError if the file is damaged or of another version."""
        layout, about = table_file.read(path)
        about["category_ids"] = np.array(about["category_ids"], np.int64)
        about["names"] = tuple(about["names"])
        return cls(layout, **about)

    # -- asking -------------------------------------------------------------------------------------------------------

    def evaluate(
        self, image_ids: Iterable[int] | None = None, weights: Sequence[float] | np.ndarray | None = None
    ) -> Scores:
        """mAP over some images (a repeated id counts once, as in pycocotools), or over all of them.

        `weights[i]` says how many copies of image `image_ids[i]` (or `self.image_ids[i]`) there are; fractions must be
        multiples of 2 ** -20, so that sums are exact. Raises UnknownImage, a KeyError, on an id that the table lacks.
        """
        if weights is not None:
            return self._weighted(np.asarray(weights)[None], image_ids)[0]
        return self._score(*find_images(self._layout, [image_ids]))[0]

    def evaluate_many(
        self, queries: Sequence[Iterable[int]] | np.ndarray, image_ids: Iterable[int] | None = None
    ) -> ManyScores:
        """Many queries at once, on all threads that numba may use (`NUMBA_NUM_THREADS`).

        `queries` is K lists of image ids, or a (K, n) array of weights for the n images `image_ids` (or all N, in the
        order of `self.image_ids`).
        """
        if isinstance(queries, np.ndarray) and queries.ndim == 2:
            return self._weighted(queries, image_ids)
        if image_ids is not None:
            raise ValueError("image_ids go with a (K, n) array of weights; lists of ids name their images themselves")
        return self._score(*find_images(self._layout, list(queries)))

    def _weighted(self, weights: np.ndarray, image_ids: Iterable[int] | None) -> ManyScores:
        ids = self.image_ids if image_ids is None else np.array(list(image_ids))
        positions, _ = find_images(self._layout, [ids])
        if len(positions) != len(ids):
            raise ValueError(
                f"{len(ids)} image ids name {len(positions)} images: with weights, every id may occur once"
            )
        if weights.ndim != 2 or weights.shape[1] != len(ids):
            raise ValueError(f"weights have the shape {weights.shape}, but there are {len(ids)} images")
        if image_ids is not None:
            weights = weights[:, np.argsort(ids)]  # as `positions`, which ascends
        return self._many(self._weigh(*whole_weights(weights, self._layout), positions))

    def _score(self, positions: np.ndarray, starts: np.ndarray) -> ManyScores:
        def ask(lo: int, hi: int, out: np.ndarray) -> None:
            try:
                work = self._spare.pop()
            except IndexError:
                work = make_work(self._layout)
            score_subsets(positions, starts, lo, hi, self._layout, work, out)
            self._spare.append(work)

        return self._many(self._spread(ask, len(starts) - 1))

    def _weigh(self, weights: np.ndarray, unit: int, positions: np.ndarray) -> np.ndarray:
        def ask(lo: int, hi: int, out: np.ndarray) -> None:
            score_weightings(weights, positions, unit, lo, hi, self._layout, out)

        return self._spread(ask, len(weights))

    def _spread(self, ask: Callable[[int, int, np.ndarray], None], k: int) -> np.ndarray:
        """k rows of answers, filled by threads of our own: numba's pools survive neither fork nor Flask's threads."""
        out = np.empty((k, HEAD + len(self.category_ids)))
        threads = min(numba.get_num_threads(), k // 4)
        if threads < 2:
            ask(0, k, out)
        else:
            edges = np.linspace(0, k, threads + 1).astype(int).tolist()
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(lambda q: ask(edges[q], edges[q + 1], out), range(threads)))
        return out

    def _many(self, answers: np.ndarray) -> ManyScores:
        return ManyScores(answers, self.category_ids, self.names)

    def running(self, image_ids: Iterable[int] = ()) -> RunningSubset:
        """A subset to which images are added, and from which they are removed, one at a time."""
        subset = RunningSubset(self._layout, self.names, self.category_ids)
        for image_id in image_ids:
            subset.add(image_id)
        return subset

    # -- comparing ----------------------------------------------------------------------------------------------------

    def bootstrap(
        self,
        n: int = 1000,
        rng: np.random.Generator | int | None = None,
        image_ids: Iterable[int] | None = None,
        level: float = 0.95,
    ) -> Bootstrap:
        """Standard errors and intervals from `n` resamples of the images (all, or those given) with replacement."""
        return self._bootstraps([self], n, rng, image_ids, level)[0]

    def delta(
        self,
        other: MatchTable,
        n: int = 1000,
        rng: np.random.Generator | int | None = None,
        image_ids: Iterable[int] | None = None,
        level: float = 0.95,
    ) -> Delta:
        """This detector's mAP minus the other's, both on the same `n` resamples of the images.

        Raises ValueError if the two were matched to different ground truth.
        """
        if self.truth_fingerprint != other.truth_fingerprint:
            raise ValueError("the two tables have different ground truth: build both from the same images and boxes")
        return Delta.of(*self._bootstraps([self, other], n, rng, image_ids, level))

    @staticmethod
    def _bootstraps(
        tables: list[MatchTable],
        n: int,
        rng: np.random.Generator | int | None,
        image_ids: Iterable[int] | None,
        level: float,
    ) -> list[Bootstrap]:
        """One bootstrap a table, all on the same resamples."""
        positions, starts = find_images(tables[0]._layout, [image_ids])
        if n < 2 or not len(positions):
            raise ValueError(f"{n} resamples of {len(positions)} images: it takes at least 2 resamples of 1 image")
        draw = np.random.default_rng(rng)
        samples: list[list[np.ndarray]] = [[] for _ in tables]
        for first in range(0, n, BLOCK):
            weights = np.empty((min(BLOCK, n - first), len(positions)), np.int64)
            tally(draw.integers(0, len(positions), weights.shape), weights)
            for table, blocks in zip(tables, samples, strict=True):
                blocks.append(table._weigh(weights, 1, positions))
        return [
            Bootstrap.of(table._score(positions, starts)[0], table._many(np.concatenate(blocks)), level)
            for table, blocks in zip(tables, samples, strict=True)
        ]

    @property
    def nbytes(self) -> int:
        """Bytes that queries read, all arrays together."""
        return sum(array.nbytes for array in self._layout)

    def __len__(self) -> int:
        return len(self.image_ids)

    def __repr__(self) -> str:
        return (
            f"MatchTable({len(self)} images, {len(self.names)} categories, {self.detections} detections, "
            f"{self.nbytes / 1e6:.1f} MB, {self.fingerprint[:12]})"
        )

"""Pools for tests, made from class scores and encodings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.pool.pool import Pool
from model.data.dataset import LabeledImage
from model.data.detections import Detections
from model.detectors.base import Detector


def detections_of(class_scores: Sequence[Sequence[float]] | np.ndarray, classes: int | None = None) -> Detections:
    """The detections of one image from the class scores of its boxes, (boxes, C)."""
    p = np.asarray(class_scores, np.float32)
    if len(p) == 0:
        p = np.zeros((0, classes or 1), np.float32)
    best_first = np.argsort(-p.max(axis=1))
    p = p[best_first]
    xyxy = np.tile(np.array([4, 4, 20, 20], np.float32), (len(p), 1))
    return Detections(xyxy, p.max(axis=1), p.argmax(axis=1), p, (64, 48))


def pool_of(
    detections: Sequence[Detections],
    encodings: Sequence[Sequence[float]] | np.ndarray,
    *,
    labeled: Sequence[Sequence[float]] | np.ndarray = (),
    class_ap: Sequence[float] = (-1.0,),
    ids: Sequence[int] | None = None,
) -> Pool:
    """A pool with ids 1, 2, ... and classes c0, c1, ... unless told otherwise."""
    return Pool.from_detections(
        ids or range(1, len(detections) + 1),
        detections,
        np.asarray(encodings, np.float32),
        [f"c{k}" for k in range(len(class_ap))],
        np.asarray(labeled, np.float32),
        np.asarray(class_ap),
    )


def scan(detector: Detector, images: Sequence[LabeledImage], labeled: Sequence[LabeledImage], ap: np.ndarray) -> Pool:
    """The pool of these images as a detector sees them, beside the labeled ones."""
    detections, encodings = zip(*detector.scan([image.path for image in images]), strict=True)
    ids, labeled_encodings = [image.id for image in images], detector.encode([image.path for image in labeled])
    return Pool.from_detections(ids, detections, encodings, detector.names, labeled_encodings, ap)


def random_pool(n: int, *, labeled: int = 6, classes: int = 4, width: int = 8, boxes: int = 4, seed: int = 0) -> Pool:
    """n images of 0 to `boxes` boxes, ids that are neither sorted nor contiguous, one class of unknown AP."""
    rng = np.random.default_rng(seed)
    detections = [detections_of(rng.random((rng.integers(0, boxes + 1), classes)) ** 3, classes) for _ in range(n)]
    return pool_of(
        detections,
        rng.normal(size=(n, width)) * 10.0 ** rng.integers(-2, 3, width),
        labeled=rng.normal(size=(labeled, width)),
        class_ap=[-1.0, *rng.random(classes - 1)],
        ids=(rng.permutation(3 * n)[:n] + 7).tolist(),
    )


def on_a_line(positions: Sequence[float], labeled: Sequence[float] = ()) -> Pool:
    """Images without boxes at these places of a one-dimensional space."""
    return pool_of(
        [detections_of([], 1)] * len(positions),
        [[p] for p in positions],
        labeled=np.reshape(np.asarray(labeled), (-1, 1)),
    )

"""What an image's detections say about it: uncertainty, and how many boxes of which class to expect."""

from __future__ import annotations

import numpy as np

from model.detections import Detections

SCORE_FLOOR = 0.05
"""Boxes that score less do not count. A detector emits them by the hundred on any picture, and they would drown every
mean and every sum; 0.05 is the cut of PPAL and the default of torchvision's detectors."""

BOX_COLUMNS = ("max_entropy", "mean_entropy", "weighted_entropy", "least_confidence", "margin", "expected_boxes")


def binary_entropy(p: np.ndarray) -> np.ndarray:
    """-p ln p - (1 - p) ln(1 - p), in nats: 0 for a sure yes or no, ln 2 = 0.693 for an even chance."""
    p = np.clip(np.asarray(p, np.float64), 1e-12, 1 - 1e-12)
    return -p * np.log(p) - (1 - p) * np.log1p(-p)


def weakness_of(class_ap: np.ndarray) -> np.ndarray:
    """(C,) 1 - AP of each class, in [0, 1].

    An AP of -1 is unknown: the holdout shows no such object. It counts as AP 0, because a class that is missing from
    the labeled images is the one that labels are missing for; to leave it out would mean never to look for it.
    """
    return 1.0 - np.clip(np.asarray(class_ap, np.float64), 0.0, 1.0)


def class_weights(class_ap: np.ndarray, alpha: float = 0.3, beta: float = 0.2) -> np.ndarray:
    """(C,) weight of a class's uncertainty, from 1 (AP 1) to 1 + beta (AP 0).

    w = 1 + alpha * beta * ln((e^(1 / alpha) - 1) * d + 1), with difficulty d = 1 - AP: the formula and the constants
    of PPAL's difficulty calibrated uncertainty (Yang et al., CVPR 2024) as its public code has them. PPAL takes d from
    a moving average over its own training; AP on the holdout needs no change to the trainer.
    """
    return 1.0 + alpha * beta * np.log(np.expm1(1.0 / alpha) * weakness_of(class_ap) + 1.0)


def describe(detections: Detections, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of one image from its boxes of at least SCORE_FLOOR, and the expected boxes per class.

    Args:
        detections: of one image, `class_scores` (boxes, C) given.
        weights: (C,) from `class_weights`.

    Returns:
        (6,) float64 in the order of BOX_COLUMNS, and (C,) float64. With p the class scores of a box, p1 and p2 the
        largest two of them (p2 = 0 with a single class) and H the binary entropy:

        max_entropy, mean_entropy: over boxes, of sum_c H(p_c): the entropy of C independent yes/no answers, which is
            what sigmoid class scores are.
        weighted_entropy: sum over boxes of w_k H(p1), k the box's class: PPAL's image uncertainty.
        least_confidence: 1 - the highest score: even the surest box of the image is doubtful (Settles 2009, least
            confidence, with the image's best box as its prediction). Not the least sure of its boxes: that one sits at
            the floor in almost every image and tells none apart.
        margin: mean over boxes of p1 - p2, the 1-vs-2 margin averaged over the image as in Brust et al. (VISAPP 2019,
            without their square); small means that two classes compete, or that neither is likely.
        expected_boxes: sum over boxes and classes of p.

        An image without such a box has nothing to be unsure of: 0 everywhere, and a margin of 1.
    """
    kept = detections.above(SCORE_FLOOR)
    p = kept.class_scores.astype(np.float64)
    expected = p.sum(axis=0)
    if len(kept) == 0:
        return np.array([0.0, 0.0, 0.0, 0.0, 1.0, 0.0]), expected
    entropy = binary_entropy(p).sum(axis=1)
    ranked = np.sort(p, axis=1)
    margin = ranked[:, -1] - ranked[:, -2] if p.shape[1] > 1 else ranked[:, -1]
    weighted = weights[kept.class_ids] @ binary_entropy(kept.scores)
    best = float(kept.scores.max())
    return np.array([entropy.max(), entropy.mean(), weighted, 1.0 - best, margin.mean(), expected.sum()]), expected

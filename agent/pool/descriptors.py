"""What an image's detections say about it: uncertainty, and how many boxes of which class to expect."""

from __future__ import annotations

import numpy as np

from model.data.detections import Detections

SCORE_FLOOR = 0.05
"""Boxes that score less do not count. A detector emits them by the hundred on any picture, and they would drown every
mean and every sum; 0.05 is the cut of PPAL and the default of torchvision's detectors. With a higher one expected boxes
say less of the boxes that are there, of rare classes above all (docs/RESULTS.md)."""

ALPHA, BETA = 0.3, 0.2  # of `class_weights`

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


def class_weights(class_ap: np.ndarray) -> np.ndarray:
    """(C,) weight of a class's uncertainty, from 1 (AP 1) to 1 + BETA (AP 0).

    w = 1 + ALPHA * BETA * ln((e^(1 / ALPHA) - 1) * d + 1), with difficulty d = 1 - AP: the formula and the constants
    of PPAL's difficulty calibrated uncertainty (Yang et al., CVPR 2024) as its public code has them. PPAL takes d from
    a moving average over its own training; AP on the holdout needs no change to the trainer.
    """
    return 1.0 + ALPHA * BETA * np.log(np.expm1(1.0 / ALPHA) * weakness_of(class_ap) + 1.0)


def describe(detections: Detections) -> np.ndarray:
    """What counts of one image's detections, by its boxes of at least SCORE_FLOOR: independent of any class's AP.

    Args:
        detections: of one image, `class_scores` (boxes, C) given.

    Returns:
        (4 + 2 C,) float64: max_entropy, mean_entropy, least_confidence and margin, as `weigh` explains them; for each
        class the sum of H(p1) over its boxes; for each class the expected boxes, the sum of its scores over the boxes.
    """
    boxes = detections.above(SCORE_FLOOR)
    p = boxes.class_scores.astype(np.float64)
    classes = p.shape[1]
    if len(boxes) == 0:
        return np.array([0.0, 0.0, 0.0, 1.0] + [0.0] * 2 * classes)
    entropy = binary_entropy(p).sum(axis=1)
    ranked = np.sort(p, axis=1)
    margin = ranked[:, -1] - ranked[:, -2] if classes > 1 else ranked[:, -1]
    per_class = np.bincount(boxes.class_ids, weights=binary_entropy(boxes.scores), minlength=classes)
    whole = [entropy.max(), entropy.mean(), 1.0 - float(boxes.scores.max()), margin.mean()]
    return np.concatenate([whole, per_class, p.sum(axis=0)])


def weigh(summaries: np.ndarray, class_ap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors and expected boxes of n images, given how good the detector is at each class.

    Args:
        summaries: (n, 4 + 2 C) from `describe`.
        class_ap: (C,), -1 where unknown.

    Returns:
        (n, 6) float64 in the order of BOX_COLUMNS, and (n, C) float64 expected boxes per class. With p the class scores
        of a box, p1 and p2 the largest two of them (p2 = 0 with a single class) and H the binary entropy:

        max_entropy, mean_entropy: over boxes, of sum_c H(p_c): the entropy of C independent yes/no answers, which is
            what sigmoid class scores are.
        weighted_entropy: sum over boxes of w_k H(p1), k the box's class: PPAL's image uncertainty.
        least_confidence: 1 - the highest score: even the surest box of the image is doubtful (Settles 2009, least
            confidence, with the image's best box as its prediction). Not the least sure of its boxes: that one sits at
            the floor in almost every image and tells none apart.
        margin: mean over boxes of p1 - p2, the 1-vs-2 margin averaged over the image as in Brust et al. (VISAPP 2019,
            without their square); small means that two classes compete, or that neither is likely.
        expected_boxes: sum of p over classes and boxes.

        An image without such a box has nothing to be unsure of: 0 everywhere, and a margin of 1.
    """
    rows = np.asarray(summaries, np.float64)
    classes = len(class_ap)
    expected = rows[:, 4 + classes :]
    weighted = rows[:, 4 : 4 + classes] @ class_weights(class_ap)
    highest, mean, least_confidence, margin = rows[:, :4].T
    columns = [highest, mean, weighted, least_confidence, margin, expected.sum(axis=1)]
    return np.column_stack(columns), expected

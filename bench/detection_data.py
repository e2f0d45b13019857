"""Seeded ground truth and detections shaped like COCO val2017 and VOC 2007 test, for the benchmarks.

Only the numbers of images, boxes and classes, their long tail and the quality of a middling detector are imitated; no
pixels. The same seed gives the same data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shape:
    """What a data set looks like, in means an image."""

    images: int
    classes: int
    classes_an_image: float
    boxes_a_class: float
    detections: float
    crowds: float
    width: int = 640
    height: int = 480


COCO = Shape(images=5000, classes=80, classes_an_image=2.9, boxes_a_class=2.55, detections=66, crowds=0.012)
VOC = Shape(images=4952, classes=20, classes_an_image=1.5, boxes_a_class=1.65, detections=25, crowds=0.0)


def make(shape: Shape, seed: int = 0) -> tuple[dict, list[dict]]:
    """(COCO instances dict, COCO results list).

    Class frequencies fall as 1 / (rank + 2), with the first class at about a quarter of the boxes, as `person` is. A
    detector finds most objects with a score that follows its IoU, adds duplicates, and fills up with low-scored false
    alarms, mostly of classes that are in the image.
    """
    rng = np.random.default_rng(seed)
    share = 1.0 / (np.arange(shape.classes) + 2.0)
    share[0] *= 2.5
    share /= share.sum()

    count = 1 + rng.poisson(shape.classes_an_image - 1, shape.images)
    image = np.repeat(np.arange(shape.images), count)
    label = rng.choice(shape.classes, len(image), p=share)
    pair = np.unique(image * shape.classes + label)  # a class once an image
    repeats = len(image) / len(pair)
    boxes = rng.geometric(min(1.0, 1 / (shape.boxes_a_class * repeats)), len(pair))
    image, category = (np.repeat(v, boxes) for v in (pair // shape.classes, pair % shape.classes))
    n = len(image)
    side = np.exp(rng.normal(4.2, 0.9, n)).clip(6, 400)
    ratio = np.exp(rng.normal(0, 0.4, n))
    wh = np.stack([side * ratio, side / ratio], 1)
    xy = rng.random((n, 2)) * (np.array([shape.width, shape.height]) - wh).clip(1)
    truth = np.concatenate([xy, wh], 1).round(2)
    crowd = rng.random(n) < shape.crowds

    hit = rng.random(n) < 0.8
    copies = np.where(hit, 1 + rng.poisson(0.9, n), rng.poisson(0.3, n))
    source = np.repeat(np.arange(n), copies)
    first = np.concatenate([[True], source[1:] != source[:-1]]) & hit[source]
    spread = np.exp(rng.normal(np.where(first, -2.3, -1.5), 0.7))
    jitter = rng.normal(0, 1, (len(source), 4)) * spread[:, None] * 0.5
    near = truth[source]
    near = np.concatenate([near[:, :2] + jitter[:, :2] * near[:, 2:], near[:, 2:] * np.exp(jitter[:, 2:])], 1)
    quality = np.exp(-2.5 * spread)
    near_score = 1 / (1 + np.exp(-(4 * quality - 2.2 - 1.5 * ~first + rng.normal(0, 1.1, len(source)))))
    near_class = np.where(
        rng.random(len(source)) < 0.93, category[source], rng.choice(shape.classes, len(source), p=share)
    )

    per_image = np.bincount(image[source], minlength=shape.images)
    extra = rng.poisson(np.maximum(shape.detections - per_image, 1))
    at = np.repeat(np.arange(shape.images), extra)
    start, length = np.searchsorted(image, np.arange(shape.images)), np.bincount(image, minlength=shape.images)
    neighbour = start[at] + (rng.random(len(at)) * length[at]).astype(int)
    far_class = np.where(rng.random(len(at)) < 0.7, category[neighbour], rng.choice(shape.classes, len(at), p=share))
    far_wh = np.exp(rng.normal(4.2, 0.9, (len(at), 2))).clip(6, 400)
    far = np.concatenate([rng.random((len(at), 2)) * [shape.width, shape.height], far_wh], 1)
    far_score = rng.beta(0.7, 9, len(at))

    where = np.concatenate([image[source], at])
    order = np.argsort(where, kind="stable")
    box_of_detection = np.concatenate([near, far])[order].round(2)
    class_of_detection = np.concatenate([near_class, far_class])[order]
    scores = np.concatenate([near_score, far_score])[order].round(5)

    ids = (np.arange(shape.images) * 37 + 139).tolist()  # gaps, as in COCO
    ground_truth = {
        "images": [{"id": i, "width": shape.width, "height": shape.height, "file_name": f"{i:012d}.jpg"} for i in ids],
        "annotations": [
            {"id": k + 1, "image_id": ids[i], "category_id": c + 1, "bbox": b, "area": b[2] * b[3], "iscrowd": w}
            for k, (i, c, b, w) in enumerate(
                zip(image.tolist(), category.tolist(), truth.tolist(), crowd.astype(int).tolist(), strict=True)
            )
        ],
        "categories": [{"id": c + 1, "name": f"class {c + 1}"} for c in range(shape.classes)],
    }
    detections = [
        {"image_id": ids[i], "category_id": c + 1, "bbox": b, "score": s}
        for i, c, b, s in zip(
            where[order].tolist(), class_of_detection.tolist(), box_of_detection.tolist(), scores.tolist(), strict=True
        )
    ]
    return ground_truth, detections

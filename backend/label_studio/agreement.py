"""Several annotations of one image as one: boxes that overlap are one object, and most of the annotators decide.

Of an object the box is the median of its boxes, side by side, so that one who draws carelessly moves it little.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backend.label_studio.regions import Reading

OVERLAP = 0.5  # intersection over union from which on two boxes of one label are one object
DISAGREED = "annotators who agree on no box"


def agreed(readings: Sequence[Reading]) -> Reading:
    """One reading of the annotations of several people, the newest first; each counts once.

    An object counts where more than half of them drew it, and of exactly half, where the newest is among these. An
    annotation that is not understood has no vote; where all are not, the newest one's problem is told. Where most of
    them drew something, but no object counts, the image is no background: see `Reading.problem`.
    """
    usable = [reading for reading in readings if reading.problem is None]
    if len(usable) < 2:
        return usable[0] if usable else readings[0]
    corners, classes = [], []
    for members in _objects(usable):
        votes = {who for who, _ in members}
        if 2 * len(votes) > len(usable) or (2 * len(votes) == len(usable) and 0 in votes):
            boxes = np.stack([usable[who].xyxy[k] for who, k in members])
            corners.append(np.median(boxes, axis=0))
            who, k = members[0]
            classes.append(int(usable[who].class_ids[k]))
    drew = sum(len(reading.class_ids) > 0 for reading in usable)
    unusable = (DISAGREED,) if not classes and 2 * drew > len(usable) else ()
    others = tuple(label for reading in usable for label in reading.others)
    return Reading(
        np.array(corners, np.float32).reshape(-1, 4), np.array(classes, np.int64), unusable, others if classes else ()
    )


def _objects(readings: Sequence[Reading]) -> list[list[tuple[int, int]]]:
    """(annotator, box) of each object. A box joins the object that it overlaps most, where its annotator has none."""
    found: list[list[tuple[int, int]]] = []
    for who, reading in enumerate(readings):
        pairs = [
            (overlap, k, number)
            for k in range(len(reading.class_ids))
            for number, members in enumerate(found)
            if (overlap := _overlap(readings, members, reading, k)) >= OVERLAP
        ]
        taken: set[int] = set()
        joined: set[int] = set()
        for _, k, number in sorted(pairs, key=lambda pair: -pair[0]):
            if k not in taken and number not in joined:
                found[number].append((who, k))
                taken.add(k)
                joined.add(number)
        found += [[(who, k)] for k in range(len(reading.class_ids)) if k not in taken]
    return found


def _overlap(readings: Sequence[Reading], members: list[tuple[int, int]], reading: Reading, k: int) -> float:
    """Intersection over union of a box and the first one of an object; 0 where their labels differ."""
    who, first = members[0]
    if readings[who].class_ids[first] != reading.class_ids[k]:
        return 0.0
    a, b = readings[who].xyxy[first].astype(np.float64), reading.xyxy[k].astype(np.float64)
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    if (sides <= 0).any():
        return 0.0
    inner = float(np.prod(sides))
    return inner / (float(np.prod(a[2:] - a[:2])) + float(np.prod(b[2:] - b[:2])) - inner)

"""Whether a ranking says what is live already: then nothing is imported, because Label Studio holds all of it.

Label Studio cannot take an order without the boxes: both lie in its predictions, and importing them is what a ranking
of many tasks spends its time on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from backend.project.predictions import PredictionRow, Predictions
from model.damage import DamagedError


def unchanged(live: Predictions, boxes: Predictions, tasks: Iterable[int], order: Sequence[int]) -> bool:
    """Whether `live` holds the same boxes of the same images, and serves the tasks in the same order.

    Args:
        boxes: what the detector sees in the images of `tasks`.
        order: those of the tasks that are not labeled, best first. Of labeled ones no order is asked.
    """
    wanted = list(tasks)
    try:
        scores = {}
        for held, seen in zip(live.of(wanted), boxes.of(wanted), strict=True):
            if _kept(held) != _kept(seen):
                return False
            scores[held[0]] = held[2]
        return all(scores[one] < scores[other] for one, other in pairwise(order))
    except (DamagedError, KeyError, ValueError):  # something is missing here or there
        return False


def _kept(row: PredictionRow) -> tuple[int, str, list[dict]]:
    """What no publication changes: regions get new ids, and tasks other places."""
    task, image, _, result = row
    return task, image, [{key: value for key, value in region.items() if key != "id"} for region in result]

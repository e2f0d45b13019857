"""What to say of a version that shows no box in any image: why, and which threshold would show some."""

from __future__ import annotations

import math
from collections.abc import Iterable

from backend.label_studio.labels import LabelConfig
from backend.project.predictions import PredictionRow
from model.thresholds import Thresholds


def nothing_shown(
    rows: Iterable[PredictionRow], name: str, config: LabelConfig, label_map: dict[str, str], default: Thresholds
) -> str:
    """A line, or "" where at least one box is shown, or there is no image.

    Args:
        rows: of `ShownBoxes`: the score of each is that of its image's best box.
        name: the version's.
        label_map: its classes to the project's labels, not empty.
        default: of controls that have no threshold.
    """
    bests = []
    for *_, best, result in rows:
        if result:
            return ""
        bests.append(best)
    if not bests:
        return ""
    thresholds = sorted({config.shown_from(label, default.of(one)) for one, label in label_map.items()})
    line = f"{name} shows no box in any of {len(bests)} images: none scores {' or '.join(map(str, thresholds))}"
    scores = [score for score in bests if 0 < score < thresholds[-1]]  # 1 of an earlier release is no score
    best = max(scores, default=0.0)
    if not (enough := _below(best)):
        return f"{line}, or anything near it; label more images, and train again"
    return (
        f"{line}, the best has {best:.2g}; label more images and train again, or see some already with "
        f'model_score_threshold="{enough}" at the <RectangleLabels>'
    )


def _below(score: float) -> float:
    """The next round number that is not above a score; 0 where it is not worth a threshold."""
    digits = 2 if score >= 0.1 else 3
    return math.floor(score * 10**digits) / 10**digits

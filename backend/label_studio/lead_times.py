"""How long annotations took, from what Label Studio notes with them.

`lead_time` is a clock that runs while the annotation is open in somebody's browser, with the time of its drafts and of
earlier submits added. Imports and many scripts give none. The editor notes where each region came from under `origin`:
"manual", "prediction" (kept as the model drew it) or "prediction-changed". A suggestion that somebody asked for by
drawing around it is "manual".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from agent.costs import Effort
from backend.label_studio.client import Task
from backend.label_studio.config import LabelConfig
from backend.label_studio.regions import shape_of
from backend.label_studio.shapes import ShapeError

KEPT = ("prediction", "prediction-changed")


def efforts(tasks: Iterable[Task], config: LabelConfig) -> list[Effort]:
    """What each submitted annotation of the tasks took, the newest last; those without a time are left out.

    Every annotator's counts: each of them cost time. What was skipped does not.
    """
    found: list[tuple[str, int, Effort]] = []
    for task in tasks:
        for one in task.annotations:
            effort = _effort(one, config) if isinstance(one, Mapping) else None
            if effort is not None:
                found.append((str(one.get("created_at") or ""), len(found), effort))
    return [effort for _, _, effort in sorted(found, key=lambda entry: entry[:2])]


def seconds_of(annotation: Mapping[str, Any]) -> float | None:
    """By the annotator's clock; None where there is no time that could be true."""
    seconds = annotation.get("lead_time")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    try:
        return float(seconds) if math.isfinite(seconds) and seconds > 0 else None
    except OverflowError:  # a whole number of hundreds of digits
        return None


def _effort(annotation: Mapping[str, Any], config: LabelConfig) -> Effort | None:
    """One annotation's; None where it was skipped, or its time is not known."""
    seconds = seconds_of(annotation)
    if annotation.get("was_cancelled") or seconds is None:
        return None
    result = annotation.get("result")
    origins = [one.get("origin") for one in result if _draws(one, config)] if isinstance(result, list) else []
    kept = sum(origin in KEPT for origin in origins)
    who = annotation.get("completed_by")
    who = who.get("id") if isinstance(who, Mapping) else who
    return Effort(seconds, len(origins) - kept, kept, "" if who is None else str(who))


def _draws(region: Any, config: LabelConfig) -> bool:
    """Whether a result draws a shape on the image that is served."""
    try:
        return shape_of(region, config) is not None
    except ShapeError:
        return isinstance(region, Mapping)  # whatever it is, it took time

"""What the card of the backend in Label Studio (Settings, Model) says after its name, in one short line.

MGRAL · training 43 %, about 2 min left
MGRAL · v0003, mAP .41 ± .05, 120 labeled
MGRAL · training failed: no boxes to learn from (0 annotated tasks): draw some with the labels Car, Bus, then ...
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from backend.web.api.figures import believed, number
from model.version import Version

LONGEST = 110  # characters; Label Studio keeps any number, and the card breaks lines
NAMES = {"train": "training", "rank": "ranking"}
NO_WORKER = "waiting: no worker runs, start `mgral work`"


def of_work(work: Mapping[str, Any], workers: int) -> str:
    """Of a cycle that waits or runs; `work` is what `backend.queue.progress.describe` tells of it."""
    name, status = NAMES[work["kind"]], work["status"]
    if status == "scheduled":
        return _short(f"{name} is tried again: {_bare(work['error'] or 'see the log')}")
    if status != "started":
        return f"{name} waits for a worker" if workers else NO_WORKER
    left = _left(work["seconds_left"])
    return f"{name} {work['share']:.0%}".replace("%", " %") + (f", {left} left" if left else "")


def of_failure(work: Mapping[str, Any]) -> str:
    """Of a cycle that failed: why, and what to do."""
    return _short(f"{NAMES[work['kind']]} failed: {_bare(work['error'] or 'see `mgral jobs`')}")


def of_version(version: Version | None) -> str:
    """Of what serves while nothing runs."""
    if version is None:
        return "no order yet"
    name = version.name.partition("-")[0]
    if version.parent is None:
        return f"{name}, not trained yet"
    metrics = version.metrics or {}
    value, around = number(metrics.get("map")), believed(metrics)
    if value is None:
        return f"{name}, {version.images} labeled"
    error = f" ± {_figure((around.high - around.low) / 2)}" if around else ""
    return f"{name}, mAP {_figure(value)}{error}, {version.images} labeled"


def _figure(value: float) -> str:
    """.41"""
    return re.sub("^0", "", f"{value:.2f}")


def _left(seconds: int | None) -> str:
    """About how long; coarse, or each second would be another title."""
    if seconds is None:
        return ""
    if seconds < 60:
        return "less than a minute"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 100 else f"about {round(minutes / 60)} h"


def _bare(line: str) -> str:
    """Without the project's number, which whoever reads the card knows."""
    return re.sub(r"^project \d+(:| has)? ", "", " ".join(line.split()))


def _short(line: str) -> str:
    if len(line) <= LONGEST:
        return line
    return line[:LONGEST].rpartition(" ")[0].rstrip(" ,;:(") + " ..."

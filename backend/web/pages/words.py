"""How pages write numbers, times and states."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from backend.web.pages.charts import tick

NONE = "\N{EN DASH}"
STAGES = {
    "waiting for a worker": "Waiting for a worker",
    "waiting for the cycle before it": "Waiting for the cycle before it",
    "fetch": "Fetching tasks",
    "train": "Training",
    "evaluate": "Measuring the new model",
    "evaluate the serving model": "Measuring the serving model",
    "hindsight": "Preparing measurements",
    "scan": "Looking at images",
    "controls": "Measuring without batches",
    "variant": "Measuring batches",
    "variants": "Measuring batches",
    "rank": "Ordering tasks",
    "import": "Sending boxes to Label Studio",
    "cross-fit": "Training doubles of the new model",
    "look at what was held out": "Judging the new model by its doubles",
    "clean up": "Tidying up",
    "done": "Done",
}
KINDS = {
    "train": "Training",
    "rank": "Ranking",
    "predict": "Late tasks",
    "survey": "Survey",
    "scan": "Scan",
    "hindsight": "Hindsight",
    "plan": "Plan",
    "variant": "Variant",
    "publish": "Publication",
    "cross_fit": "Cross-fitting",
    "clean_up": "Tidying up",
}
STATES = {
    "created": "queued",
    "queued": "queued",
    "deferred": "waiting",
    "ready_to_enqueue": "queued",
    "scheduled": "tries again later",
    "started": "running",
    "finished": "finished",
    "failed": "failed",
    "stopped": "cancelled",
    "canceled": "cancelled",
    "gone": "forgotten",
}


def stage(name: str) -> str:
    """A stage of a job, for people."""
    return STAGES.get(name, name or NONE)


def kind(name: str | None) -> str:
    """A kind of job."""
    return KINDS.get(name or "", name or NONE)


def state(name: str) -> str:
    """The status of a job."""
    return STATES.get(name, name)


def score(value: Any, signed: bool = False) -> str:
    """mAP or AP, three digits."""
    if not isinstance(value, int | float):
        return NONE
    text = f"{value:+.3f}" if signed else f"{value:.3f}"
    return text.replace("-", "\N{MINUS SIGN}")


def span(interval: Any, signed: bool = False) -> str:
    """An interval with `low` and `high`."""
    return NONE if interval is None else f"{score(interval.low, signed)} to {score(interval.high, signed)}"


def count(value: Any) -> str:
    """A whole number with separators."""
    return f"{value:,}" if isinstance(value, int) else NONE


def percent(share: Any) -> str:
    """Of 0.4 "40 %"."""
    return f"{share:.0%}".replace("%", "\u202f%") if isinstance(share, int | float) else NONE


def duration(seconds: Any) -> str:
    """Of 95 "1 min 35 s"."""
    if not isinstance(seconds, int | float):
        return NONE
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def when(text: str | None, now: datetime | None = None) -> str:
    """Of an ISO 8601 time how long ago it is, or its date."""
    moment = _moment(text)
    if moment is None:
        return text or NONE
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{int(seconds // 60)} min ago"
    if seconds < 24 * 3600:
        return f"{int(seconds // 3600)} h ago"
    return f"{moment.day} {moment:%b %Y}"


def date(text: str | None) -> str:
    """Of an ISO 8601 time the date and the time, in UTC."""
    moment = _moment(text)
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if moment else text or NONE


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


FILTERS: dict[str, Callable[..., str]] = {
    function.__name__: function
    for function in (stage, kind, state, score, span, count, percent, duration, when, date, tick)
}

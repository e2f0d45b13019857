"""How long work tells what it is doing, and how it is told to stop."""

from __future__ import annotations

from typing import Protocol


class Cancelled(Exception):
    """Raised by a `Report` when the user asked to stop; nothing half-done is kept."""


class Interrupted(Exception):
    """Raised by a `Report` when the worker is to stop, and somebody is to go on later: what was reached is kept."""


class Report(Protocol):
    """Called by anything that runs longer than two seconds.

    `done` of `total` units are finished; `figures` are numbers worth showing (loss=..., map=...). May raise
    `Cancelled` or `Interrupted`, which the caller lets through.
    """

    def __call__(self, done: int, total: int, **figures: float) -> None: ...


class Watch(Protocol):
    """A `Report` of work that has several stages: told the name of the stage first."""

    def __call__(self, stage: str, done: int, total: int, **figures: float) -> None: ...


def silent(done: int, total: int, **figures: float) -> None:
    """A `Report` for callers that do not watch."""

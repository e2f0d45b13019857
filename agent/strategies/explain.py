"""What reasons say, for people: what an image likely holds, what it is like, and where it stands among the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np

from agent.pool.descriptors import weakness_of
from agent.pool.pool import Pool

NOTHING = "no object found"
COPIED = "nearly the same picture as"
NAMED = 2  # classes that a reason names
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


class Sentences(Sequence[str]):
    """So many sentences, each made when it is asked for: those of a million images would fill memory.

    >>> list(Sentences(2, lambda place: f"place {place + 1}"))
    ['place 1', 'place 2']
    """

    def __init__(self, count: int, sentence: Callable[[int], str]) -> None:
        self._count, self._sentence = count, sentence

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[str, ...]: ...
    def __getitem__(self, place: int | slice) -> str | tuple[str, ...]:
        if isinstance(place, slice):
            return tuple(self._sentence(k) for k in range(*place.indices(self._count)))
        return self._sentence(range(self._count)[place])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # compared by content


def contents(pool: Pool, row: int) -> str:
    """What an image likely holds: the classes of which one box or more is expected, and how good the detector is at
    them. First those that count most for mAP, by expected boxes times 1 - AP.

    Where 2.2 boxes of "warning" are expected: "likely holds two 'warning' objects, a class with AP 0.12"; and 0.7 of
    "stop" beside them: "likely holds two 'warning' objects (AP 0.12) and one 'stop' object (AP 0.80)".
    """
    expected = pool.expected[row]
    boxes = [int(number + 0.5) for number in expected.tolist()]  # a half counts as a whole
    classes = [k for k, number in enumerate(boxes) if number]
    if not expected.any():
        return NOTHING
    if not classes:
        likeliest = int(expected.argmax())
        return f"perhaps holds {_objects(1, pool.names[likeliest])}, {_class(pool.class_ap[likeliest])}"
    if len(classes) == 1:
        return (
            f"likely holds {_objects(boxes[classes[0]], pool.names[classes[0]])}, {_class(pool.class_ap[classes[0]])}"
        )
    order = np.argsort(-expected[classes] * weakness_of(pool.class_ap[classes]), kind="stable")
    classes = [classes[k] for k in order]
    parts = [f"{_objects(boxes[k], pool.names[k])} ({_ap(pool.class_ap[k])})" for k in classes[:NAMED]]
    if others := sum(boxes[k] for k in classes[NAMED:]):
        parts.append(f"{count(others)} other object{'s' * (others > 1)}")
    return f"likely holds {', '.join(parts[:-1])} and {parts[-1]}"


def likeness(novelty: float, usual: tuple[float, float], task: int | None) -> str:
    """How much an image looks like what is labeled.

    Args:
        novelty: its distance to the nearest labeled image.
        usual: the first and the third quartile of that distance over the pool.
        task: the nearest labeled image; None where its id is not known.
    """
    if novelty > usual[1]:
        return "unlike anything labeled"
    return f"{'much' if novelty == 0 or novelty < usual[0] else 'somewhat'} like {labeled(task)}"


def labeled(task: int | None) -> str:
    """A labeled task by its id; None where that is not known."""
    return "a labeled task" if task is None else f"labeled task {task}"


def count(number: int) -> str:
    """The number in a word, up to twelve."""
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def nothing_found(pool: Pool, row: int) -> str | None:
    """The reason of an image in which no box counts; None where one does."""
    if pool.column("max_entropy")[row] > 0:
        return None
    return f"{NOTHING}; {distance(pool, float(pool.column('novelty')[row]), 0)}"


def distance(pool: Pool, value: float, chosen: int) -> str:
    """A distance between encodings, and what it is taken to once `chosen` images are in the batch."""
    labeled = len(pool.labeled_encodings) > 0
    if not labeled and not chosen:
        return f"distance {value:.2f} to the mean of all images"
    return f"distance {value:.2f} to the nearest {' or '.join(['labeled'] * labeled + ['chosen'] * bool(chosen))} image"


def _objects(number: int, name: str) -> str:
    return f"{count(number)} '{name}' object{'s' * (number > 1)}"


def _class(ap: float) -> str:
    return f"a class with {_ap(ap)}" if ap >= 0 else "a class not measured yet"


def _ap(ap: float) -> str:
    return f"AP {ap:.2f}" if ap >= 0 else "AP not measured yet"

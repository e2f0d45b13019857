"""The order that is live, as the page of the next batch reads it: the head in a small file, any task by its place.

versions/<version>/head.json    the ranking's record with the first HEAD tasks only: a million reasons are 200 MB
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from backend.project.publish import LABELED
from backend.project.published import RANKING, Publication, Published
from model.damage import reading
from model.versions import VersionError, VersionStore

FILE = "head.json"
HEAD = 500
LONGEST = 20_000_000  # bytes of a ranking that is searched for the reason of a task behind its head
REMEDY = "`mgral rank PROJECT` makes it anew"


@dataclass(frozen=True)
class Placed:
    """One task of the order.

    Attributes:
        place: from 1 on; None of a task that is labeled already.
        score: the strategy's; None where it is not known, behind the head of a long order.
        image: its address, as Label Studio has it.
        regions: the boxes that annotators are shown.
        facts: what the record says of it: its cell, unusual descriptors, the tasks it is most like.
    """

    task: int
    place: int | None
    score: float | None
    reason: str
    image: str
    regions: list[dict]
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Order:
    """The order that is live.

    Attributes:
        record: of the ranking, its lists cut after HEAD tasks.
        count: how many tasks are in order.
        file: the whole ranking; of one in a bucket it need not be here.
    """

    live: Publication
    record: Mapping[str, Any]
    count: int
    file: Path
    published: Published

    @property
    def budget(self) -> int:
        """Tasks of the next batch."""
        return int(self.record.get("budget") or 0)

    def reading(self) -> AbstractContextManager[None]:
        """Around whatever reads the record: raises DamagedError where that is of another shape."""
        return reading(self.file, REMEDY)

    def tasks(self, start: int, stop: int) -> list[Placed]:
        """Those in some places (from 0 on), as far as HEAD."""
        chosen = self.record["order"][start:stop]
        held = self.published.predictions(self.live.model_version).get(chosen)
        return [self._placed(int(task), start + k, held) for k, task in enumerate(chosen)]

    def find(self, task: int) -> Placed | None:
        """One task, wherever it stands; None where it has no prediction here, so is no task of the project, or came a
        moment ago."""
        held = self.published.predictions(self.live.model_version).get([task])
        if task not in held:
            return None
        head = self.record["order"]
        if task in head:
            return self._placed(task, head.index(task), held)
        image, score, regions = held[task]
        if score >= LABELED or not self.count:
            return Placed(task, None, None, "it is labeled, or came after the ranking", image, regions, {})
        place, found = _behind(self.file, _changed(self.file), task)
        reason = found or "the ranking is too long to be searched here: `mgral rank PROJECT --show` has every reason"
        estimate = min(self.count, max(1, round(score * self.count + 0.5)))
        return Placed(task, place or estimate, None, reason, image, regions, {})

    def _placed(self, task: int, place: int, held: Mapping[int, tuple[str, float, list[dict]]]) -> Placed:
        image, _, regions = held.get(task, ("", 0.0, []))
        known: list[dict[str, Any]] = self.record.get("tasks") or []
        about = next((one for one in known if one.get("task") == task), {})
        score, reason = self.record["scores"][place], self.record["reasons"][place]
        return Placed(task, place + 1, float(score), str(reason), image, regions, about)


def head_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What of a ranking's record is put into head.json."""
    cut = {key: record[key][:HEAD] for key in ("order", "scores", "reasons")}
    cut["tasks"] = (record.get("tasks") or [])[:HEAD]
    return {**record, **cut, "count": len(record["order"])}


def order_of(store: VersionStore, published: Published) -> Order | None:
    """The order that is live; None before the first. Raises DamagedError."""
    live = published.current()
    if live is None:
        return None
    file = store.root / live.version / RANKING
    with reading(file, REMEDY):
        record = _head(store, live)
        if record is None:
            return None
        return Order(live, record, int(record["count"]), file, published)


def _head(store: VersionStore, live: Publication) -> Mapping[str, Any] | None:
    for name in (FILE, RANKING):
        try:
            record = json.loads(store.read(live.version, name))
        except VersionError:
            continue
        if record.get("model_version") == live.model_version or name == RANKING:
            return record if name == FILE else head_of(record)
    return None


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=64)
def _behind(file: Path, _changed: int, task: int) -> tuple[int | None, str]:
    """(place, reason) of a task, read off a whole ranking that is not too long."""
    try:
        if file.stat().st_size > LONGEST:
            return None, ""
        record = json.loads(file.read_bytes())
        place = record["order"].index(task)
        return place + 1, str(record["reasons"][place])
    except (OSError, ValueError, LookupError, TypeError):
        return None, ""

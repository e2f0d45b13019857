"""What an annotator did with the boxes of a task: kept, moved, relabeled, deleted, added.

Label Studio's editor keeps the ids of regions, so an annotation made from a prediction tells which of its regions was
which box. Where no id is the same, as in annotations that a script sent, boxes are matched by where they lie.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from backend.label_studio.config import LabelConfig
from backend.label_studio.regions import label_of, shape_of
from backend.label_studio.shapes import ShapeError, box, outline
from model.data.overlap import iou
from model.thresholds import FOUND

KINDS = ("kept", "moved", "relabeled", "deleted", "added")
MOVED = 0.95
"""IoU with where it was below which a box of the same label counts as moved: dragging one side by a twentieth."""
PERCENT = (100, 100)


class Change(NamedTuple):
    """What became of a box.

    Attributes:
        kind: one of KINDS.
        label: as it was shown; of an added box as it was drawn.
        now: its label in the annotation; "" where it is deleted.
    """

    kind: str
    label: str
    now: str


@dataclass(frozen=True, eq=False)
class Drawn:
    """Regions as boxes.

    Attributes:
        ids: "" where a region has none.
        labels: of each.
        xyxy: (n, 4) corners in percent of the image's sides, in which IoU is what it is in pixels.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    xyxy: np.ndarray

    @classmethod
    def of(cls, result: Any, config: LabelConfig) -> Drawn:
        """The regions of a prediction or an annotation that have a label and can be understood."""
        ids, labels, corners = [], [], []
        for one in result if isinstance(result, list) else ():
            try:
                kind = shape_of(one, config)
                label = None if kind is None else label_of(one, result, config)
                if kind is None or label not in config.labels:
                    continue
                corners.append(box(outline(kind, one, PERCENT), PERCENT))
            except ShapeError:
                continue
            ids.append(str(one.get("id") or "") if isinstance(one, Mapping) else "")
            labels.append(str(label))
        return cls(tuple(ids), tuple(labels), np.array(corners, np.float64).reshape(-1, 4))

    def __len__(self) -> int:
        return len(self.labels)

    def shared(self, other: Drawn) -> int:
        """How many regions have the id of one of the others."""
        return len({name for name in self.ids if name} & set(other.ids))


def compare(shown: Drawn, drawn: Drawn) -> Counter[Change]:
    """What became of each box that was shown, and what was added."""
    pairs = _by_id(shown, drawn) if shown.shared(drawn) else _by_place(shown, drawn)
    changes: Counter[Change] = Counter()
    overlap = iou(shown.xyxy, drawn.xyxy)
    for before, after in pairs.items():
        label, now = shown.labels[before], drawn.labels[after]
        same = "moved" if overlap[before, after] < MOVED else "kept"
        changes[Change(same if label == now else "relabeled", label, now)] += 1
    changes.update(Change("deleted", label, "") for k, label in enumerate(shown.labels) if k not in pairs)
    found = set(pairs.values())
    changes.update(Change("added", label, label) for k, label in enumerate(drawn.labels) if k not in found)
    return changes


def _by_id(shown: Drawn, drawn: Drawn) -> dict[int, int]:
    """Index of a shown box -> index of the region that it has become."""
    places = {name: k for k, name in enumerate(drawn.ids) if name}
    return {k: places[name] for k, name in enumerate(shown.ids) if name in places}


def _by_place(shown: Drawn, drawn: Drawn) -> dict[int, int]:
    """As `_by_id`: those that overlap most first, from FOUND on, whatever their labels; of equals the same label."""
    overlap = iou(shown.xyxy, drawn.xyxy)
    same = np.array([[one == other for other in drawn.labels] for one in shown.labels], bool).reshape(overlap.shape)
    pairs: dict[int, int] = {}
    for flat in np.argsort(-(overlap + 1e-6 * same), axis=None, kind="stable"):
        before, after = divmod(int(flat), max(len(drawn), 1))
        if overlap[before, after] < FOUND:
            break
        if before not in pairs and after not in pairs.values():
            pairs[before] = after
    return pairs


def counted(changes: Mapping[Change, int], by: Sequence[str] = KINDS) -> dict[str, dict[str, int]]:
    """Label -> kind -> how many; what is added counts for the label that was drawn."""
    table: dict[str, dict[str, int]] = {}
    for change, count in changes.items():
        row = table.setdefault(change.label, dict.fromkeys(by, 0))
        row[change.kind] += count
    return table

"""Boxes to Label Studio's regions, and what people drew to boxes.

Nothing that somebody drew becomes background: a region that cannot be understood is told, and its image is not used.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from backend.label_studio.config import LabelConfig
from backend.label_studio.shapes import SHAPES, UNREAD, ShapeError, box, outline
from model.data.checked import check_boxes
from model.data.detections import Detections
from model.thresholds import Thresholds, shown

LABELS = "labels"
BESIDE = ("choices", "textarea", "rating", "number", "datetime", "taxonomy", "pairwise", "ranker", "relation", LABELS)
"""Types of results that say something about an image or a region, and draw nothing."""
NO_LABEL = "a region without a label"
NO_VALUE = "a region without a value"


def regions(
    detections: Detections,
    names: tuple[str, ...],
    config: LabelConfig,
    label_map: dict[str, str],
    thresholds: Thresholds,
) -> list[dict]:
    """Label Studio regions (percent of the image) of the boxes that have a label and score enough: what the label's
    control says, else `thresholds`."""
    least = least_of(names, config, label_map, thresholds)
    boxes = shown(detections, least, alone=thresholds.alone)
    out = []
    for corners, score, k in zip(boxes.xyxy.tolist(), boxes.scores.tolist(), boxes.class_ids.tolist(), strict=True):
        label = label_map[names[k]]
        one = region(_new_id(), config.control_of(label).name, config.to_name, boxes.size, corners, label)
        out.append(one | {"score": score})
    return out


def least_of(
    names: Sequence[str], config: LabelConfig, label_map: Mapping[str, str], thresholds: Thresholds
) -> np.ndarray:
    """(C,) the score from which on boxes of each class of a detector are shown; infinite where it has no label."""
    labels = [label_map.get(name) for name in names]
    return np.array(
        [
            np.inf if label is None else config.shown_from(label, thresholds.of(name))
            for name, label in zip(names, labels, strict=True)
        ]
    )


def renewed(result: list[dict]) -> list[dict]:
    """The regions under new ids: accepting a suggestion whose id an annotation has would replace what is there."""
    return [one | {"id": _new_id()} for one in result]


def region(
    name: str, from_name: str, to_name: str, size: tuple[int, int], corners: Sequence[float], label: str
) -> dict[str, Any]:
    """One box as Label Studio has it: corners (x1, y1, x2, y2) in pixels of an image of `size` (width, height) to
    percent of it."""
    (width, height), (x1, y1, x2, y2) = size, corners
    return {
        "id": name,
        "from_name": from_name,
        "to_name": to_name,
        "type": "rectanglelabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {
            "x": 100 * x1 / width,
            "y": 100 * y1 / height,
            "width": 100 * (x2 - x1) / width,
            "height": 100 * (y2 - y1) / height,
            "rotation": 0,
            "rectanglelabels": [label],
        },
    }


@dataclass(frozen=True)
class Reading:
    """What an annotation says of the image that is served.

    Attributes:
        xyxy: (n, 4) float32 pixel corners.
        class_ids: (n,) int64 indices into `config.labels`.
        unusable: for each region that is not understood, why; the same words for the same reason.
        others: labels that were drawn with controls that are not served.
    """

    xyxy: np.ndarray
    class_ids: np.ndarray
    unusable: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def problem(self) -> str | None:
        """Why nothing can be learned from the image; None where all that was drawn is known, or nothing was drawn."""
        if self.unusable:
            return self.unusable[0]
        if self.others and not len(self.class_ids):
            return f"only labels of controls that are not served ({', '.join(sorted(set(self.others)))})"
        return None


def read(result: Any, config: LabelConfig, size: tuple[int, int]) -> Reading:
    """Annotated regions to boxes; whatever the shape, it becomes the upright box around it.

    Regions of other images, and what draws nothing (choices, texts, relations), are passed over.
    """
    corners, classes, unusable, others = [], [], [], []
    if not isinstance(result, list):
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        return Reading(*nothing, ("an annotation whose result is no list",), ())
    for one in result:
        try:
            kind = shape_of(one, config)
            if kind is None:
                continue
            label = label_of(one, result, config)
            if label in config.labels and one.get("from_name") not in [*config.skipped]:
                corners.append(box(outline(kind, one, size), size))
                classes.append(config.labels.index(label))
            elif label is not None:
                others.append(label)
            else:
                unusable.append(NO_LABEL if isinstance(one.get("value"), Mapping) else NO_VALUE)
        except ShapeError as error:
            unusable.append(str(error))
    checked = check_boxes(
        np.array(corners).reshape(-1, 4), size, classes
    )  # as every file's: what is there twice is once
    class_ids = np.array(classes, np.int64)[checked.kept]
    return Reading(checked.xyxy, class_ids, tuple(unusable), tuple(others))


def boxes(result: list[dict], config: LabelConfig, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """`read`'s xyxy and class_ids, where all is known to be understood."""
    reading = read(result, config, size)
    return reading.xyxy, reading.class_ids


def shape_of(one: Any, config: LabelConfig) -> str | None:
    """The kind of shape that a result draws on the image that is served, a key of SHAPES or one of UNREAD.

    None where it draws nothing, or draws elsewhere. Raises ShapeError where that cannot be told.
    """
    if not isinstance(one, Mapping):
        raise ShapeError("a region that is no object of JSON")
    to_name, value, kind = one.get("to_name"), one.get("value"), _kind(one)
    if kind in BESIDE or (isinstance(to_name, str) and to_name in config.objects):
        return None
    known = one.get("from_name") in [*config.others, *(control.name for control in config.controls)]
    if to_name != config.to_name and not (to_name is None and known):
        raise ShapeError("a region of an image that the config does not have")
    if _page(one) or _page(value):
        return None
    if kind not in SHAPES and kind not in UNREAD:
        raise ShapeError(NO_VALUE if value is None else f"a region of type {one.get('type')!r}")
    return kind


def label_of(one: Mapping[str, Any], result: Sequence[Any], config: LabelConfig) -> str | None:
    """The label of a region: one that is served, else one of a control that is not; None where it has none.

    Raises ShapeError where the config does not have its label.
    """
    texts, name = _texts(one), one.get("id")
    if not texts and name is not None:  # <Labels> beside <Rectangle> gives two results of one id
        texts = [
            text
            for other in result
            if isinstance(other, Mapping) and other.get("id") == name and _kind(other) == LABELS
            for text in _texts(other)
        ]
    if not texts:
        return None
    own = [label for label in map(config.own_label, texts) if label is not None]
    if own:
        return own[0]
    if any(texts[0] in labels for labels in config.others.values()):
        return texts[0]
    raise ShapeError(
        f"the label {texts[0]!r}, which the config does not have (was it renamed? put predicted_values={texts[0]!r} on "
        "the <Label> that replaces it)"
    )


def _kind(one: Mapping[str, Any]) -> str:
    """The shape, or what else a result is; its `type` may be absent."""
    kind, value = str(one.get("type") or "").lower(), one.get("value")
    if not kind and isinstance(value, Mapping):
        named = (key for key in value if key.removesuffix(LABELS) in SHAPES or key in BESIDE)
        kind = next(named, "rectangle" if "width" in value else "")
    return kind if kind == LABELS else kind.removesuffix(LABELS)


def _texts(one: Mapping[str, Any]) -> list[str]:
    """The labels that a result names."""
    value = one.get("value")
    for key, named in value.items() if isinstance(value, Mapping) else ():
        if str(key).endswith(LABELS):
            every = named if isinstance(named, list) else [named]
            return [text for text in every if isinstance(text, str)]
    return []


def _page(one: Any) -> bool:
    """Whether it speaks of another page than the first."""
    return isinstance(one, Mapping) and one.get("item_index") not in (None, 0)


def _new_id() -> str:
    return uuid.uuid4().hex[:12]

"""Boxes to Label Studio's regions, and what people drew to boxes.

Nothing that somebody drew becomes background: a region that cannot be understood is told, and its image is not used.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
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

    Regions of other images, and what draws nothing (choices, texts, relations), are passed over. A region of several
    labels is an object of each; a point in a box of its label is the same object.
    """
    corners, classes, unusable, others, points = [], [], [], [], []
    if not isinstance(result, list):
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        return Reading(*nothing, ("an annotation whose result is no list",), ())
    drawn = {str(one.get("id")) for one in result if isinstance(one, Mapping) and _kind(one) not in BESIDE}
    for one in result:
        try:
            kind = shape_of(one, config)
            if kind is None:
                _check_its_shape(one, drawn, config)
                continue
            labels = labels_of(one, result, config)
            own = [config.labels.index(label) for label in labels if label in config.labels]
            if own and one.get("from_name") not in [*config.skipped]:
                place = outline(kind, one, size)
                if len(place) == 1:
                    points += [(place[0], k) for k in own]
                    continue
                corners += [box(place, size)] * len(own)
                classes += own
            elif labels:
                others += labels
            else:
                unusable.append(NO_LABEL if isinstance(one.get("value"), Mapping) else NO_VALUE)
        except ShapeError as error:
            unusable.append(str(error))
    for point, k in points:
        if not any(k == of and _within(point, corner) for of, corner in zip(classes, corners, strict=True)):
            unusable.append("a point, which has no size, and no box of its label is around it")
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
    if kind in BESIDE or (isinstance(to_name, str) and config.is_another(to_name)):
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
    """The first of `labels_of`; None where there is none."""
    return next(iter(labels_of(one, result, config)), None)


def labels_of(one: Mapping[str, Any], result: Sequence[Any], config: LabelConfig) -> list[str]:
    """The labels of a region, each once: those that are served, else those of controls that are not.

    Raises ShapeError where the config does not have one of its labels.
    """
    texts, name = _texts(one), one.get("id")
    if not texts and name is not None:  # <Labels> beside <Rectangle> gives two results of one id
        texts = [
            text
            for other in result
            if isinstance(other, Mapping) and other.get("id") == name and _kind(other) == LABELS
            for text in _texts(other)
        ]
    own = {text: config.own_label(text) for text in texts}
    for text, label in own.items():
        if label is None and not any(text in labels for labels in config.others.values()):
            raise ShapeError(
                f"the label {text!r}, which the config does not have (was it renamed? put predicted_values={text!r} on "
                "the <Label> that replaces it)"
            )
    return list(dict.fromkeys(label for label in own.values() if label is not None)) or list(own)


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
    named = [value[key] for key in value if str(key).endswith(LABELS)] if isinstance(value, Mapping) else []
    every = [text for texts in named for text in (texts if isinstance(texts, list) else [texts])]
    return [text for text in every if isinstance(text, str)]


def _check_its_shape(one: Mapping[str, Any], drawn: Collection[str], config: LabelConfig) -> None:
    """Raises ShapeError where a result is said of a region of the image that is served, and this is not there.

    Args:
        drawn: the ids of the regions that are.
    """
    value, here = one.get("value"), one.get("to_name") in (config.to_name, None)
    placed = isinstance(value, Mapping) and any(key in value for key in ("x", "points", "rle", "radiusX"))
    if here and placed and not _page(one) and str(one.get("id")) not in drawn:
        raise ShapeError(f"{_kind(one)} of a region that is not there")


def _within(point: np.ndarray, corners: np.ndarray) -> bool:
    return bool((corners[:2] <= point).all() and (point <= corners[2:]).all())


def _page(one: Any) -> bool:
    """Whether it speaks of another page than the first. Raises ShapeError where that cannot be told."""
    page = one.get("item_index") if isinstance(one, Mapping) else None
    if page is None or page == 0:
        return False
    if isinstance(page, bool) or not isinstance(page, int) or page < 0:
        raise ShapeError("a region whose item_index is no number of a page")
    return True


def _new_id() -> str:
    return uuid.uuid4().hex[:12]

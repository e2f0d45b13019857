"""Between a project's label config and a detector: which tags, which labels, boxes to regions and back."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from label_studio_sdk._legacy.exceptions import LabelStudioXMLSyntaxErrorSentryIgnored
from label_studio_sdk.label_interface import LabelInterface

from model.data.detections import Detections


class LabelConfigError(ValueError):
    """A label config that this backend cannot serve; the message says what is missing."""


@dataclass(frozen=True)
class LabelConfig:
    """The one RectangleLabels control that is served, and the image it draws on.

    Attributes:
        from_name, to_name: names of the control and of the Image tag.
        data_key: the key of `task["data"]` that holds the image.
        labels: the labels in the config's order.
        predicted: lower-case detector class -> label, from `predicted_values`.
        threshold: `model_score_threshold` (alias `score_threshold`) of the control, if given.
        model_path: `model_path` of the control, if given.
    """

    from_name: str
    to_name: str
    data_key: str
    labels: tuple[str, ...]
    predicted: dict[str, str]
    threshold: float | None
    model_path: str | None

    @classmethod
    def parse(cls, config: str) -> LabelConfig:
        """Find the first RectangleLabels on an Image that is not marked `model_skip`.

        Raises LabelConfigError naming what the config has instead.
        """
        try:
            interface = LabelInterface(config)
        except (LabelStudioXMLSyntaxErrorSentryIgnored, ElementTree.ParseError, ValueError, LookupError) as error:
            raise LabelConfigError(f"the label config cannot be parsed: {error}") from error
        for control in interface.controls:
            if control.tag.lower() != "rectanglelabels" or _true(control.attr.get("model_skip")):
                continue
            target = interface.get_object(control.to_name[0])
            if target.tag.lower() != "image" or not str(target.value or "").startswith("$"):
                continue
            labels = tuple(control.labels)
            predicted = {}
            for label, attributes in control.labels_attrs.items():
                for value in str(attributes.attr.get("predicted_values") or "").split(","):
                    if value.strip():
                        predicted[value.strip().lower()] = label
            threshold = control.attr.get("model_score_threshold") or control.attr.get("score_threshold")
            return cls(
                control.name,
                target.name,
                str(target.value)[1:],
                labels,
                predicted,
                float(threshold) if threshold else None,
                control.attr.get("model_path") or None,
            )
        tags = sorted({control.tag for control in interface.controls}) or ["nothing"]
        raise LabelConfigError(
            f"the label config has no RectangleLabels on an Image (it has {', '.join(tags)}); add "
            '<RectangleLabels name="label" toName="image"> with a <Label> for every class'
        )

    def shown_from(self, default: float) -> float:
        """The score from which on boxes are shown: the control's own threshold, else `default`."""
        return default if self.threshold is None else self.threshold

    def label_map(self, names: tuple[str, ...]) -> dict[str, str]:
        """Detector class -> label: by `predicted_values` first, then by equal name, ignoring case."""
        by_name = {label.lower(): label for label in self.labels}
        return {
            name: label for name in names if (label := self.predicted.get(name.lower()) or by_name.get(name.lower()))
        }

    def no_match(self, names: tuple[str, ...]) -> str:
        """The message for an empty label map: both label sets, and what to do."""
        return (
            f"no class of the detector is a label of the project: the detector knows {_listed(names)}, the project "
            f"{_listed(self.labels)}; name them alike, add predicted_values to a <Label>, or label some tasks and train"
        )


def regions(
    detections: Detections, names: tuple[str, ...], config: LabelConfig, label_map: dict[str, str], threshold: float
) -> list[dict]:
    """Label Studio regions (percent of the image) of the boxes that score `threshold` and have a label."""
    out = []
    for index, (corners, score, k) in enumerate(
        zip(detections.xyxy.tolist(), detections.scores.tolist(), detections.class_ids.tolist(), strict=True)
    ):
        label = label_map.get(names[k])
        if score >= threshold and label is not None:
            box = region(f"box{index}", config.from_name, config.to_name, detections.size, corners, label)
            out.append(box | {"score": score})
    return out


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


def boxes(result: list[dict], config: LabelConfig, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Annotated regions to (n, 4) float32 pixel corners and (n,) int64 indices into `config.labels`.

    A rotated rectangle becomes the upright box around it. Regions of other controls, and labels that the config no
    longer has, are left out.
    """
    width, height = size
    corners, classes = [], []
    for region in result:
        value = region.get("value", {})
        chosen = [label for label in value.get("rectanglelabels") or [] if label in config.labels]
        if region.get("from_name") != config.from_name or not chosen:
            continue
        x, y = value["x"] * width / 100, value["y"] * height / 100
        w, h = value["width"] * width / 100, value["height"] * height / 100
        turn = math.radians(value.get("rotation") or 0)
        along, down = np.array([math.cos(turn), math.sin(turn)]) * w, np.array([-math.sin(turn), math.cos(turn)]) * h
        points = np.array([x, y]) + np.array([[0, 0], along, down, along + down])
        low = np.clip(points.min(axis=0), 0, [width, height])
        high = np.clip(points.max(axis=0), 0, [width, height])
        if (high - low).min() < 1:
            continue
        corners.append([*low, *high])
        classes.append(config.labels.index(chosen[0]))
    return np.array(corners, np.float32).reshape(-1, 4), np.array(classes, np.int64)


def _true(value: object) -> bool:
    return str(value or "").lower() in {"true", "1", "yes"}


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "") if names else "none"

"""The tags of a label config, as Label Studio's SDK parses them: what each says, and what of it cannot be served."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from label_studio_sdk.label_interface.control_tags import ControlTag
from label_studio_sdk.label_interface.object_tags import ObjectTag

ADD = '<RectangleLabels name="label" toName="image"> with a <Label> for every class'

FIELD = re.compile(r"\$[\w\[{.]", re.ASCII)  # Label Studio's editor puts a field of the task in its place
MODEL_ATTRIBUTES = ("model_score_threshold", "model_path", "model_skip", "model_obb")
"""What of a control's attributes is for the backend."""


class LabelConfigError(ValueError):
    """A label config that this backend cannot serve; the message says what is missing."""


@dataclass(frozen=True)
class Control:
    """One RectangleLabels control.

    Attributes:
        name: its regions' `from_name`.
        labels: as its regions name them (a label's alias where it has one), in the config's order.
        threshold: `model_score_threshold` (alias `score_threshold`), if given.
    """

    name: str
    labels: tuple[str, ...]
    threshold: float | None


def image(candidates: list[ControlTag], objects: dict[str | None, ObjectTag]) -> ObjectTag | None:
    """The first Image that one of the controls draws on."""
    for tag in candidates:
        for name in targets(tag):
            if name in objects and _is_image(objects[name]):
                return objects[name]
    return None


def why_none(every: list[ControlTag], objects: dict[str | None, ObjectTag]) -> str:
    """Why `image` finds none, and what to change."""
    rectangles = [tag for tag in every if str(tag.tag).lower() == "rectanglelabels"]
    if not rectangles:
        return f"it has {', '.join(sorted({str(tag.tag) for tag in every})) or 'nothing'}; add {ADD}"
    first = next((tag for tag in rectangles if not true(tag, "model_skip")), None)
    if first is None:
        return f"{rectangles[0].name!r} says model_skip; remove that attribute"
    name = ",".join(targets(first))
    found = next((objects[name] for name in targets(first) if name in objects), None)
    what = "which no Image is named" if found is None else f"which is a {found.tag}"
    return f'{first.name!r} has toName={name!r}, {what}; name it as an <Image name="image" value="$image"/> is named'


def targets(tag: ControlTag) -> list[str]:
    """The names of the objects that a control draws on."""
    return [name.strip() for name in tag.to_name or ()]


def data_key(image: ObjectTag) -> str:
    """The field of a task that holds the image. Raises LabelConfigError where it is not a plain one."""
    if said(image, "valueList"):
        raise LabelConfigError(
            f"Image {image.name!r} has valueList={said(image, 'valueList')!r}, several pages in one task, which is not "
            'served: import each page as a task and write value="$image"'
        )
    value = str(image.value or "")
    if not re.fullmatch(r"\$[^\s.,?&=/:{}\[\]$]+", value):
        raise LabelConfigError(
            f"Image {image.name!r} has value={value!r}; only a field of the task's data is served: import the address "
            'under a field of its own and write value="$image" (no Repeater, no dots, nothing after the name)'
        )
    return value[1:]


def control(tag: ControlTag) -> Control:
    """A control that is served. Raises LabelConfigError where it has no labels, or a threshold that is none."""
    labels = tuple(str(label) for label in tag.labels or ())
    if not labels:
        raise LabelConfigError(f"RectangleLabels {tag.name!r} has no <Label>: add one for every class")
    for label, attributes in (tag.labels_attrs or {}).items():
        if re.search(FIELD, str(label)) and not attributes.attr.get("alias"):
            raise LabelConfigError(
                f"RectangleLabels {tag.name!r} takes the label {label!r} from each task, which is not served: write "
                "its text into the config"
            )
    if not all(label.strip() for label in labels):
        raise LabelConfigError(f'RectangleLabels {tag.name!r} has a <Label> with value="": give it a name or remove it')
    return Control(str(tag.name), labels, _threshold(tag))


def _threshold(tag: ControlTag) -> float | None:
    for key in ("model_score_threshold", "score_threshold"):
        text = said(tag, key)
        if not text:
            continue
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise LabelConfigError(
                f"{key}={text!r} of RectangleLabels {tag.name!r}: must be a number from 0 to 1, such as 0.4"
            )
        return value
    return None


def model_path(tags: list[ControlTag]) -> str | None:
    """The weights that the controls name. Raises LabelConfigError where these are several."""
    paths = list(dict.fromkeys(said(tag, "model_path") for tag in tags if said(tag, "model_path")))
    if len(paths) > 1:
        raise LabelConfigError(
            f"the label config names several model_path ({', '.join(paths)}): a project has one detector; leave one"
        )
    return paths[0] if paths else None


def predicted(tags: list[ControlTag]) -> tuple[dict[str, str], list[str]]:
    """`predicted_values` by value, and a line for each that two labels name: the first one has it."""
    predicted: dict[str, str] = {}
    remarks = []
    for tag in tags:
        for label, attributes in (tag.labels_attrs or {}).items():
            for value in map(str.strip, str(attributes.attr.get("predicted_values") or "").split(",")):
                first = predicted.setdefault(value, label) if value else label
                if first != label:
                    remarks.append(f"predicted_values {value!r} stands at {first!r} and at {label!r}: the first has it")
    return predicted, remarks


def remarks(
    image: ObjectTag, served: list[ControlTag], candidates: list[ControlTag], objects: Iterable[ObjectTag]
) -> list[str]:
    """What else the config has, and is not served."""
    remarks = []
    images = [tag.name for tag in objects if _is_image(tag) and tag is not image]
    if images:
        remarks.append(f"only the image {image.name!r} is served, not {', '.join(map(repr, images))}")
    elsewhere = [tag.name for tag in candidates if tag not in served]
    if elsewhere:
        remarks.append(f"RectangleLabels {', '.join(map(repr, elsewhere))} draws on something else and is not served")
    for tag in served:
        if dynamic(tag):
            remarks.append(
                f"labels that RectangleLabels {tag.name!r} takes from each task ({said(tag, 'value')}) are not served"
            )
        if true(tag, "model_obb"):
            remarks.append(f"model_obb of RectangleLabels {tag.name!r} is not served: boxes are upright")
        attributes = {*(tag.attr or {}), *(key for label in (tag.labels_attrs or {}).values() for key in label.attr)}
        unknown = sorted(key for key in attributes - {*MODEL_ATTRIBUTES} if key.startswith("model_"))
        if unknown:
            remarks.append(
                f"{', '.join(unknown)} of RectangleLabels {tag.name!r} is not known here and changes nothing (known: "
                f"{', '.join(MODEL_ATTRIBUTES)})"
            )
    return remarks


def dynamic(tag: ControlTag) -> bool:
    """Whether a control takes its labels from each task."""
    return said(tag, "value").startswith("$")


def true(tag: ControlTag, key: str) -> bool:
    """Whether an attribute of a control is set."""
    return said(tag, key).lower() in {"true", "1", "yes"}


def said(tag: ControlTag | ObjectTag, key: str) -> str:
    """An attribute of a tag, "" where it has none."""
    return str((tag.attr or {}).get(key) or "")


def _is_image(tag: ObjectTag) -> bool:
    return str(tag.tag).lower() == "image"

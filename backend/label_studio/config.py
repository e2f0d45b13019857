"""A project's label config: which image and which controls are served, and how labels and detector classes meet."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from label_studio_sdk._legacy.exceptions import LabelStudioXMLSyntaxErrorSentryIgnored
from label_studio_sdk.label_interface import LabelInterface

from backend.label_studio import tags
from backend.label_studio.tags import Control, LabelConfigError
from model.thresholds import Thresholds

PARSING = (
    LabelStudioXMLSyntaxErrorSentryIgnored,
    ElementTree.ParseError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,  # the SDK's own, of tags where it does not expect them
)


@dataclass(frozen=True)
class LabelConfig:
    """The RectangleLabels controls that are served, and the one image that they draw on.

    Attributes:
        to_name: name of the Image tag.
        data_key: the key of `task["data"]` that holds the image.
        controls: those that are served, in the config's order.
        labels: the labels of all of them, each once.
        predicted: detector class -> label, from `predicted_values`.
        values: a label's value -> its alias, where it has one.
        others: labels of the controls on this image that are not served, by the control's name.
        skipped: names of the controls that say `model_skip`.
        objects: names of the other objects of a task (other images, texts), as the config has them.
        model_path: `model_path` of the controls, if given.
        remarks: a line for each thing in the config that is not served.
    """

    to_name: str
    data_key: str
    controls: tuple[Control, ...]
    labels: tuple[str, ...]
    predicted: Mapping[str, str]
    values: Mapping[str, str]
    others: Mapping[str, tuple[str, ...]]
    skipped: frozenset[str]
    objects: frozenset[str]
    model_path: str | None
    remarks: tuple[str, ...]

    @classmethod
    def parse(cls, config: str) -> LabelConfig:
        """Find the image that the first RectangleLabels without `model_skip` draws on, and all such controls of it.

        Raises LabelConfigError naming what cannot be served, and what to change.
        """
        try:
            # It is text here, of which lxml takes no declaration of an encoding.
            interface = LabelInterface(re.sub(r"^\s*<\?xml[^>]*\?>", "", config))
            every = list(interface.controls or ())
            objects = {tag.name: tag for tag in interface.objects or ()}
        except PARSING as error:
            raise LabelConfigError(f"the label config cannot be parsed: {' '.join(str(error).split())}") from error
        candidates = [tag for tag in every if tag.tag.lower() == "rectanglelabels" and not tags.true(tag, "model_skip")]
        image = tags.image(candidates, objects)
        if image is None:
            why = tags.why_none(every, objects)
            raise LabelConfigError(f"the label config has no RectangleLabels on an Image: {why}")
        here = [tag for tag in every if image.name in tags.targets(tag)]
        served = [tag for tag in here if tag in candidates]
        controls = tuple(tags.control(tag) for tag in served if not tags.dynamic(tag) or tag.labels)
        if not controls:
            names = ", ".join(repr(tag.name) for tag in served)
            raise LabelConfigError(
                f"RectangleLabels {names} takes its labels from each task ({served[0].attr.get('value')!r}), which is "
                "not served: write them into the config as <Label> tags"
            )
        predicted, remarks = tags.predicted(served)
        return cls(
            to_name=str(image.name),
            data_key=tags.data_key(image),
            controls=controls,
            labels=tuple(dict.fromkeys(label for control in controls for label in control.labels)),
            predicted=predicted,
            values={
                str(attributes.attr["value"]): label
                for tag in served
                for label, attributes in (tag.labels_attrs or {}).items()
                if attributes.attr.get("alias") and attributes.attr.get("value")
            },
            others={str(tag.name): tuple(tag.labels or ()) for tag in here if tag not in served},
            skipped=frozenset(str(tag.name) for tag in here if tags.true(tag, "model_skip")),
            objects=frozenset(str(name) for name in objects if name != image.name),
            model_path=tags.model_path(served),
            remarks=(*remarks, *tags.remarks(image, served, candidates, objects.values())),
        )

    @property
    def from_name(self) -> str:
        """The first control's name."""
        return self.controls[0].name

    @property
    def threshold(self) -> float | None:
        """The first control's threshold, if given."""
        return self.controls[0].threshold

    def is_another(self, name: str) -> bool:
        """Whether it names another object of a task; those of a Repeater are numbered, `page_{{idx}}` is `page_0`."""
        repeated = (re.split(r"\{\{\w+\}\}", known) for known in self.objects if "{{" in known)
        return name in self.objects or any(
            re.fullmatch(r"\d+".join(map(re.escape, parts)), name, re.ASCII) for parts in repeated
        )

    def control_of(self, label: str) -> Control:
        """The control that shows boxes of a label."""
        return next(control for control in self.controls if label in control.labels)

    def shown_from(self, label: str, default: float) -> float:
        """The score from which on boxes of a label are shown: its control's own threshold, else `default`."""
        own = self.control_of(label).threshold
        return default if own is None else own

    def shown_by(self, default: Thresholds, label_map: Mapping[str, str]) -> str:
        """A text that changes with everything that decides which boxes are shown, and how."""
        if len(self.controls) == 1:
            first = default if self.threshold is None else Thresholds(self.threshold, alone=default.alone)
            return f"{first} {self.labels} {sorted(label_map.items())}"
        return f"{default} {self.controls} {sorted(label_map.items())}"

    def boxes_by(self, label_map: Mapping[str, str]) -> str:
        """A text that changes with what of a detector's boxes is shown, and where: their labels, names, thresholds."""
        shown = [
            (name, label, self.control_of(label).name, self.control_of(label).threshold)
            for name, label in sorted(label_map.items())
        ]
        return f"{self.data_key} {self.to_name} {shown}"

    def label_map(self, names: Iterable[str], *, trained: bool = False) -> dict[str, str]:
        """Detector class -> label: by `predicted_values` first, then by equal name.

        What is equal but for case counts only where nothing is equal outright, and only where one such label exists.

        Args:
            trained: the detector learned from this project's labels: its class names are labels, and a
                `predicted_values` names a label that was renamed since.
        """
        found = {name: self._trained(name) if trained else self._foreign(name) for name in names}
        return {name: label for name, label in found.items() if label is not None}

    def own_label(self, text: str) -> str | None:
        """The label that a region's text stands for; None where it is none of those served.

        A label's value stands for its alias, and a renamed label for the one whose `predicted_values` names it.
        """
        if text in self.labels:
            return text
        return self.values.get(text) or self.predicted.get(text)

    def no_match(self, names: tuple[str, ...]) -> str:
        """The message for an empty label map: both label sets, and what to do."""
        return (
            f"no class of the detector is a label of the project: the detector knows {_listed(names)}, the project "
            f"{_listed(self.labels)}; name them alike, add predicted_values to a <Label>, or label some tasks and train"
        )

    def _trained(self, name: str) -> str | None:
        return name if name in self.labels else self.predicted.get(name)

    def _foreign(self, name: str) -> str | None:
        if name in self.predicted:
            return self.predicted[name]
        if name in self.labels:
            return name
        by_prediction = {label for value, label in self.predicted.items() if value.lower() == name.lower()}
        by_name = {label for label in self.labels if label.lower() == name.lower()}
        alike = by_prediction or by_name
        return next(iter(alike)) if len(alike) == 1 else None


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:20])
    return shown + (f" and {len(names) - 20} more" if len(names) > 20 else "") if names else "none"

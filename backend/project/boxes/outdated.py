"""Whether the boxes that are live are still those that the label config and the settings ask for.

A label that was renamed, another threshold, other `predicted_values`: what was predicted before is of no use then.
Whoever meets the config sees it (a request, an event, the reconciling), and a ranking publishes new boxes.
"""

from __future__ import annotations

import hashlib

from backend.label_studio.labels import LabelConfig
from backend.project.boxes.thresholds import thresholds_of
from backend.project.serving import published_of, store_of
from backend.settings import Settings
from model.version import Version


def asked_for(config: LabelConfig, version: Version) -> str:
    """Stands for which boxes of a version the config asks for, and how they are shown: equal where these are equal."""
    label_map = config.label_map(version.names, trained=version.parent is not None)
    return hashlib.sha256(config.boxes_by(label_map).encode()).hexdigest()[:16]


def threshold_of(config: LabelConfig, settings: Settings, version: Version) -> float | None:
    """MODEL_SCORE_THRESHOLD; None where each control has a threshold of its own, or else each class of the version."""
    if thresholds_of(settings, version).by_class or all(control.threshold is not None for control in config.controls):
        return None
    return settings.model_score_threshold


def other_config(settings: Settings, project: int, config: LabelConfig) -> bool:
    """Whether the config asks for other boxes than those that are live; false where that is not known.

    Raises VersionError where the version that is live is gone.
    """
    live = published_of(settings, project).current()
    if live is None or not live.boxes_by:  # of an earlier release
        return False
    return live.boxes_by != asked_for(config, store_of(settings, project).get(live.version))


def outdated(settings: Settings, project: int, config: LabelConfig) -> bool:
    """`other_config`, or another MODEL_SCORE_THRESHOLD. For workers, whose setting it is: the backend's may differ."""
    live = published_of(settings, project).current()
    if live is None or not live.boxes_by:
        return False
    version = store_of(settings, project).get(live.version)
    return live.threshold != threshold_of(config, settings, version) or other_config(settings, project, config)

"""Which of a version's boxes annotators are shown where the label config does not say: by the admin's setting, else by
what the version's training has learned."""

from __future__ import annotations

from backend.settings import Settings
from model.thresholds import Thresholds
from model.version import Version


def thresholds_of(settings: Settings, version: Version) -> Thresholds:
    """MODEL_SCORE_THRESHOLD where somebody set it, else the version's own thresholds.

    One box a place is shown of the versions whose training says how sure it has to be: those of earlier releases show
    what they always did.
    """
    by_class = {} if settings.threshold_is_set else version.thresholds
    return Thresholds(settings.model_score_threshold, by_class, alone=bool(version.thresholds))

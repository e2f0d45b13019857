"""What MODEL_DIR knows of each project, as metrics: what serves, how good it is, how old its order is.

Only small files are read, never weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

from backend.project.published import Publication
from backend.project.serving import known_projects, named_of, published_of, store_of
from backend.settings import Settings
from backend.web.api.figures import believed, number
from model.damage import DamagedError, warn
from model.version import Version
from model.versions import VersionError


def file_metrics(settings: Settings) -> list[Metric]:
    """All of them. Raises OSError where MODEL_DIR cannot be read; a project with a damaged file is left out."""
    found = []
    for project in known_projects(settings):
        try:
            version = named_of(store_of(settings, project))
            found.append((str(project), version, published_of(settings, project).current()))
        except (DamagedError, VersionError) as error:
            warn(f"project {project} has no metrics: {error}")
    return [*_serving([(project, version) for project, version, _ in found if version is not None]), *_live(found)]


def _serving(found: list[tuple[str, Version]]) -> Iterable[Metric]:
    serving = InfoMetricFamily("mgral_project_serving", "The model version that serves.", labels=["project"])
    images = GaugeMetricFamily(
        "mgral_project_trained_images",
        "Labeled images that the serving version learned from and was measured on.",
        labels=["project"],
    )
    score = GaugeMetricFamily(
        "mgral_project_map_ratio",
        "mAP (IoU .50:.95) of the serving version on its holdout, 0 to 1.",
        labels=["project"],
    )
    low, high = (
        GaugeMetricFamily(
            f"mgral_project_map_{end}_ratio",
            f"{text} end of the 95 % interval; none where too few images are held out.",
            labels=["project"],
        )
        for end, text in (("low", "Lower"), ("high", "Upper"))
    )
    for project, version in found:
        serving.add_metric([project], {"version": version.name})
        images.add_metric([project], version.images)
        metrics = version.metrics or {}
        value, around = number(metrics.get("map")), believed(metrics)
        if value is not None:
            score.add_metric([project], value)
            if around is not None:
                low.add_metric([project], around.low)
                high.add_metric([project], around.high)
    return serving, images, score, low, high


def _live(found: list[tuple[str, Version | None, Publication | None]]) -> Iterable[Metric]:
    live = InfoMetricFamily(
        "mgral_project_live",
        "The predictions and the order that annotators see: their name in Label Studio, the version behind them, and "
        "what ordered the tasks.",
        labels=["project"],
    )
    ranked = GaugeMetricFamily(
        "mgral_project_ranking_timestamp_seconds",
        "When the order that is live was made; its age is time() less this.",
        labels=["project"],
    )
    for project, _, shown in found:
        if shown is None:
            continue
        live.add_metric(
            [project],
            {"model_version": shown.model_version, "version": shown.version, "strategy": shown.strategy},
        )
        if shown.ranked:
            ranked.add_metric([project], datetime.fromisoformat(shown.ranked).timestamp())
    return live, ranked

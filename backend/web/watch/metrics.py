"""`GET /metrics`: what Prometheus scrapes. It loads no model, asks Label Studio nothing, and waits for nothing long.

Redis and MODEL_DIR are asked side by side, in the background. Of Redis only what is there in time is told; what lies in
MODEL_DIR changes slowly, so the last values are told where a bucket takes longer.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import partial

from flask import Blueprint, Response, current_app, request
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from backend import counters
from backend.queue.enqueue import Jobs, connect
from backend.settings import Settings
from backend.web.watch.counts import counted
from backend.web.watch.project_metrics import file_metrics
from backend.web.watch.queue_metrics import redis_metrics
from backend.web.watch.source import Source

SECONDS = 0.1  # that a scrape waits for Redis and MODEL_DIR together
OLD_SECONDS = 30.0  # after which MODEL_DIR counts as away, if it has not answered

metrics = Blueprint("metrics", __name__)


class Scrape(Collector):
    """All metrics of an installation."""

    def __init__(self, settings: Settings) -> None:
        jobs = Jobs(settings, connect(settings, 1.0))
        self.redis = Source("metrics: Redis", partial(redis_metrics, jobs))
        self.files = Source("metrics: MODEL_DIR", partial(file_metrics, settings))
        for outcome in ("known", "at_once", "unknown"):
            counters.PREDICTIONS.labels(outcome)
        for outcome in counters.IMAGE_OUTCOMES:
            counters.IMAGES.labels(outcome, "backend")

    def collect(self) -> Iterable[Metric]:
        """Each family once, whoever knows a part of it."""
        until = time.monotonic() + SECONDS
        of_redis, of_files = self.redis.begin(), self.files.begin()
        told, there = self.redis.fresh(of_redis, until), self.files.fresh(of_files, until)
        redis_up, files_up = told is not None, there is not None or self.files.age() < OLD_SECONDS
        families: dict[str, Metric] = {}
        for family in (
            *counted(),
            *(told or ()),
            *(self.files.last or ()),
            GaugeMetricFamily("mgral_redis_up", "1 where Redis answered this scrape, else 0.", redis_up),
            GaugeMetricFamily("mgral_model_dir_up", "1 where MODEL_DIR could be read lately, else 0.", files_up),
        ):
            first = families.setdefault(family.name, family)
            if first is not family:
                first.samples += family.samples
        return families.values()


@metrics.get("/metrics")
def scrape() -> Response:
    """In Prometheus' text format, or OpenMetrics where it is asked for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(current_app.extensions["scrape"])
    encode, kind = choose_encoder(request.headers.get("Accept", ""))
    return Response(encode(registry), content_type=kind)

"""What each process counts while it works; `GET /metrics` of `mgral serve` tells it, docs/METRICS.md explains it.

The processes of `mgral serve` write their counts into files of one directory (prometheus_client calls this multiprocess
mode), so that whichever of them is asked tells those of all. A job has a process of its own, which ends with it: it
leaves its counts in Redis (`backend.queue.figures`).
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 100)
"""Upper bounds; Label Studio waits 1 s for webhooks, 3 s for /setup, 100 s for /predict"""

disable_created_metrics()  # there are none in multiprocess mode either

COUNTED = CollectorRegistry()

REQUESTS = Counter(
    "mgral_http_requests", "Requests that were answered.", ["method", "route", "status"], registry=COUNTED
)
REQUEST_SECONDS = Histogram(
    "mgral_http_request_duration_seconds",
    "How long answering took, without the wait for a thread.",
    ["route"],
    buckets=SECONDS,
    registry=COUNTED,
)
PREDICTIONS = Counter(
    "mgral_predictions",
    "Tasks that /predict was asked for. known: looked up; at_once: predicted while the request waited; "
    "unknown: answered without boxes, mostly because a worker is to predict them.",
    ["outcome"],
    registry=COUNTED,
)
IMAGES = Counter(
    "mgral_images",
    "Images that were not in the cache. fetched: asked for where they lie; failed: not to be had there; "
    "unreadable: fetched, and no picture.",
    ["outcome", "process"],
    registry=COUNTED,
)
IMAGE_OUTCOMES = ("fetched", "failed", "unreadable")


def image(outcome: str) -> None:
    """Count an image: `outcome` is one of IMAGE_OUTCOMES."""
    IMAGES.labels(outcome, "backend").inc()


def take_images() -> dict[str, int]:
    """How many images this process counted by outcome since it was asked last."""
    counted = {}
    for outcome in IMAGE_OUTCOMES:
        labels = {"outcome": outcome, "process": "backend"}
        counted[outcome] = int(COUNTED.get_sample_value("mgral_images_total", labels) or 0)
    IMAGES.clear()
    return counted


def predictions(**answered: int) -> None:
    """Count tasks that /predict answered, by outcome: known, at_once, unknown."""
    for outcome, count in answered.items():
        if count:
            PREDICTIONS.labels(outcome).inc(count)

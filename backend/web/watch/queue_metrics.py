"""What Redis knows, as metrics: the queues, the workers, what jobs took, and what Label Studio showed."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from rq.utils import now, utcparse

from backend.queue.enqueue import Jobs
from backend.queue.figures import BOUNDS, Figures

FIRST = 100  # jobs of a queue among which the oldest is looked for; those that were put first stand before it


def redis_metrics(jobs: Jobs) -> list[Metric]:
    """All of them. Raises redis.RedisError."""
    figures = Figures(jobs.connection, jobs.settings.queue_name)
    return [*_queues(jobs), _workers(jobs), *_jobs(figures), *_projects(figures)]


def _queues(jobs: Jobs) -> Iterable[Metric]:
    with jobs.connection.pipeline(transaction=False) as pipeline:
        for queue in jobs.queues:
            pipeline.llen(queue.key)
            pipeline.zcard(queue.started_job_registry.key)
            pipeline.zcard(queue.scheduled_job_registry.key)
            pipeline.lrange(queue.key, 0, FIRST - 1)
        found = pipeline.execute()
    held = GaugeMetricFamily(
        "mgral_queue_jobs",
        "Jobs by what they do: waiting for a worker, running, or paused until they are tried again.",
        labels=["queue", "state"],
    )
    oldest = GaugeMetricFamily(
        "mgral_queue_oldest_job_age_seconds",
        "How long the job that waits longest has waited for a worker; 0 where none waits.",
        labels=["queue"],
    )
    for place, queue in enumerate(jobs.queues):
        *counts, ids = found[4 * place : 4 * place + 4]
        for state, count in zip(("waiting", "running", "paused"), counts, strict=True):
            held.add_metric([queue.name, state], count)
        oldest.add_metric([queue.name], _oldest(jobs, [i.decode() for i in ids]))
    return held, oldest


def _oldest(jobs: Jobs, ids: list[str]) -> float:
    """Seconds that the first of these jobs has waited."""
    with jobs.connection.pipeline(transaction=False) as pipeline:
        for job in ids:
            pipeline.hget(jobs.queue.job_class.key_for(job), "enqueued_at")
        times = [utcparse(when.decode()) for when in pipeline.execute() if when]
    return max(0.0, (now() - min(times)).total_seconds()) if times else 0.0


def _workers(jobs: Jobs) -> Metric:
    family = GaugeMetricFamily(
        "mgral_workers", "Workers that take jobs of a queue; each `mgral work` is two.", labels=["queue"]
    )
    for queue, count in jobs.workers().items():
        family.add_metric([queue], count)
    return family


def _jobs(figures: Figures) -> Iterable[Metric]:
    durations, images = figures.read()
    took = HistogramMetricFamily(
        "mgral_job_duration_seconds",
        "How long a worker was busy with a job. Outcomes: finished, failed, stopped (cancelled), again (handed back, "
        "or to be tried again).",
        labels=["part", "outcome"],
    )
    bounds = [*(str(float(bound)) for bound in BOUNDS), "+Inf"]
    for (part, outcome), held in sorted(durations.items()):
        took.add_metric([part, outcome], list(zip(bounds, accumulate(held.counts), strict=True)), held.sum)
    fetched = CounterMetricFamily("mgral_images", "", labels=["outcome", "process"])
    for outcome, count in sorted(images.items()):
        fetched.add_metric([outcome, "worker"], count)
    return took, fetched


def _projects(figures: Figures) -> Iterable[Metric]:
    tasks = GaugeMetricFamily("mgral_project_tasks", "Tasks, as of the last reconciling.", labels=["project"])
    labeled = GaugeMetricFamily(
        "mgral_project_labeled_tasks",
        "Tasks with an annotation that is no skip, as of the last reconciling.",
        labels=["project"],
    )
    shown = GaugeMetricFamily(
        "mgral_project_shown_as_live",
        "1 where the last reconciling found that Label Studio shows what is live; 0 where it had to set that right.",
        labels=["project"],
    )
    seen = GaugeMetricFamily(
        "mgral_project_reconciled_timestamp_seconds",
        "When the project was last compared with Label Studio.",
        labels=["project"],
    )
    for project, sight in sorted(figures.seen().items()):
        label = [str(project)]
        tasks.add_metric(label, sight.tasks)
        labeled.add_metric(label, sight.labeled)
        shown.add_metric(label, sight.shown)
        seen.add_metric(label, sight.when)
    return tasks, labeled, shown, seen

"""What /metrics tells, parsed by Prometheus' own parser; and what hangs or is damaged costs only what it would tell."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from functools import lru_cache
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from rq.job import Job, JobStatus

from backend import plugin
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from backend.queue.enqueue import Jobs
from backend.queue.figures import Figures
from backend.settings import Settings
from backend.web.app import create_app
from backend.web.watch import metrics
from model.detectors.base import Detector
from model.detectors.open import open_detector
from model.versions import VersionStore
from tests.backend.web.requests import CONFIG, connected, task
from tests.patience import AT_ONCE_SECONDS

ROOT = Path(__file__).resolve().parents[4]
SCORES = {"map": 0.41, "map_interval": (0.36, 0.46), "images": 20, "boxes": 50}


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setattr(plugin, "get_settings", lambda: settings)
    connected(settings, 1, 2)
    return create_app(settings).test_client()


def scraped(client: FlaskClient) -> dict[str, Metric]:
    """Families by name."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    families = list(text_string_to_metric_families(answer.text))
    found = {family.name: family for family in families}
    assert len(found) == len(families)
    return found


def value(client: FlaskClient, name: str, **labels: str) -> float | None:
    """Of the sample with these labels; None where there is none."""
    samples = [sample for family in scraped(client).values() for sample in family.samples]
    return next((s.value for s in samples if s.name == name and s.labels == labels), None)


@lru_cache(maxsize=1)
def detector() -> Detector:
    return open_detector("starter")


def version_in(store: VersionStore, scores: dict | None) -> str:
    added = store.add(detector(), metrics=scores, label_map={}, fingerprint="", parent=None, images=120)
    return store.promote(added.name).name


def test_names_follow_prometheus_conventions(client: FlaskClient) -> None:
    for family in scraped(client).values():
        assert family.name.startswith("mgral_")
        assert family.documentation.endswith(".")
        if family.type == "counter":
            assert all(sample.name.endswith("_total") for sample in family.samples)
        assert not [unit for unit in ("_ms", "_minutes", "_percent", "_mb") if family.name.endswith(unit)]
        assert family.type != "unknown"


def test_what_serves_and_what_is_live(client: FlaskClient, settings: Settings) -> None:
    name = version_in(store_of(settings, 1), SCORES)
    published_of(settings, 1).publish(Publication(f"{name}-r001", name, "mgral", 9, ranked="2026-11-27T10:00:00+00:00"))
    version_in(store_of(settings, 2), None)  # nothing was held out, and nothing is live
    assert value(client, "mgral_project_serving_info", project="1", version=name) == 1
    live = {"project": "1", "model_version": f"{name}-r001", "version": name, "strategy": "mgral"}
    assert value(client, "mgral_project_live_info", **live) == 1
    assert value(client, "mgral_project_trained_images", project="1") == 120
    assert [value(client, f"mgral_project_map_{end}ratio", project="1") for end in ("low_", "", "high_")] == [
        0.36,
        0.41,
        0.46,
    ]
    assert value(client, "mgral_project_ranking_timestamp_seconds", project="1") == 1795773600
    assert value(client, "mgral_project_map_ratio", project="2") is None
    version_in(store_of(settings, 2), SCORES | {"images": 19})  # too few to know an interval
    assert value(client, "mgral_project_map_ratio", project="2") == 0.41
    assert value(client, "mgral_project_map_low_ratio", project="2") is None
    assert value(client, "mgral_project_ranking_timestamp_seconds", project="2") is None


def test_a_damaged_project_hides_no_other(client: FlaskClient, settings: Settings) -> None:
    names = [version_in(store_of(settings, project), SCORES) for project in (1, 2)]
    (settings.artefacts.local / "1/versions" / names[0] / "version.json").write_text("{")
    assert value(client, "mgral_project_map_ratio", project="1") is None
    assert value(client, "mgral_project_map_ratio", project="2") == 0.41
    assert value(client, "mgral_model_dir_up") == 1


def test_figures_that_are_none_hide_no_other_project(client: FlaskClient, settings: Settings) -> None:
    names = [version_in(store_of(settings, project), SCORES) for project in (1, 2)]
    about = settings.artefacts.local / "1/versions" / names[0] / "version.json"
    about.write_text(about.read_text().replace("0.41", "null"))
    assert value(client, "mgral_project_map_ratio", project="1") is None
    assert value(client, "mgral_project_trained_images", project="1") == 120
    assert value(client, "mgral_project_map_ratio", project="2") == 0.41


def test_the_queue(client: FlaskClient, settings: Settings) -> None:
    jobs = Jobs(settings)
    waiting, _ = jobs.enqueue("train", 1)
    queue = f"{settings.queue_name}-train"
    jobs.connection.hset(waiting.key, "enqueued_at", "2026-01-01T00:00:00.000000Z")
    assert value(client, "mgral_queue_jobs", queue=queue, state="waiting") == 1
    assert (value(client, "mgral_queue_oldest_job_age_seconds", queue=queue) or 0) > 1e6
    assert value(client, "mgral_queue_oldest_job_age_seconds", queue=settings.queue_name) == 0
    assert value(client, "mgral_workers", queue=queue) == 0


def test_what_workers_left(client: FlaskClient, settings: Settings) -> None:
    jobs = Jobs(settings)
    figures = Figures(jobs.connection, settings.queue_name)
    job, _ = jobs.enqueue("train", 1)
    for status, seconds in ((JobStatus.FINISHED, 50.0), (JobStatus.FINISHED, 1e6), (JobStatus.SCHEDULED, 2.0)):
        job.set_status(status)
        figures.job(job, seconds)
    figures.images({"fetched": 7, "failed": 0, "unreadable": 2})
    figures.see(1, 400, 120, shown=False)
    finished = {"part": "train", "outcome": "finished"}
    assert value(client, "mgral_job_duration_seconds_bucket", **finished, le="30.0") == 0
    assert value(client, "mgral_job_duration_seconds_bucket", **finished, le="60.0") == 1
    assert value(client, "mgral_job_duration_seconds_bucket", **finished, le="+Inf") == 2
    assert value(client, "mgral_job_duration_seconds_sum", **finished) == 1000050
    assert value(client, "mgral_job_duration_seconds_count", part="train", outcome="again") == 1
    assert value(client, "mgral_images_total", outcome="fetched", process="worker") == 7
    assert value(client, "mgral_images_total", outcome="fetched", process="backend") is not None
    assert value(client, "mgral_project_labeled_tasks", project="1") == 120
    assert value(client, "mgral_project_shown_as_live", project="1") == 0
    assert abs((value(client, "mgral_project_reconciled_timestamp_seconds", project="1") or 0) - time.time()) < 60


@pytest.mark.parametrize(
    "written", ["no JSON", "[]", '{"tasks": 1}', '{"tasks": "x", "labeled": 1, "shown": 1, "when": 0}']
)
def test_what_strangers_wrote_to_redis_is_left_out(client: FlaskClient, settings: Settings, written: str) -> None:
    jobs = Jobs(settings)
    figures = Figures(jobs.connection, settings.queue_name)
    jobs.connection.hset(figures.sights, mapping={"1": written, "x": "1"})
    job = Job.create("no.such", connection=jobs.connection, serializer=jobs.queue.serializer)
    job.save()
    figures.job(job, 1.0)
    assert value(client, "mgral_project_tasks", project="1") is None
    assert value(client, "mgral_job_duration_seconds_count", part="unknown", outcome="again") == 1


def test_predictions_are_counted_by_what_was_known(client: FlaskClient, settings: Settings) -> None:
    def counts() -> list[float]:
        return [value(client, "mgral_predictions_total", outcome=o) or 0 for o in ("known", "at_once", "unknown")]

    def ask(*numbers: int) -> list[float]:
        before = counts()
        asked = {"tasks": [task(number) for number in numbers], "project": "1.1", "label_config": CONFIG}
        assert client.post("/predict", json=asked).status_code == 200
        return [now - then for now, then in zip(counts(), before, strict=True)]

    assert ask(1, 2) == [0, 0, 2]
    published = published_of(settings, 1)
    published.predictions("v1-r001").put([(1, "/data/upload/1/a.jpg", 0.25, [])])
    published.publish(Publication("v1-r001", "v1", "entropy", 0))
    assert ask(1, 1) == [1, 0, 0]  # one task, named twice
    assert ask(1, *range(2, 30)) == [1, 0, 28]


def test_a_redis_that_is_away_costs_its_own_metrics_alone(settings: Settings) -> None:
    alone = settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"})
    client = create_app(alone).test_client()
    assert value(client, "mgral_redis_up") == 0
    assert value(client, "mgral_model_dir_up") == 1
    assert "mgral_queue_jobs" not in scraped(client)
    assert "mgral_http_requests" in scraped(client)


def test_a_directory_that_hangs_costs_no_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    name = version_in(store_of(settings, 1), SCORES)
    client = create_app(settings).test_client()
    assert value(client, "mgral_project_serving_info", project="1", version=name) == 1
    hanging, read = threading.Event(), VersionStore.named

    def hang(store: VersionStore) -> str | None:
        hanging.wait()
        return read(store)

    monkeypatch.setattr(VersionStore, "named", hang)
    took = []
    for _ in range(5):
        began = time.monotonic()
        found = scraped(client)
        took.append(time.monotonic() - began)
        assert found["mgral_project_serving_info"].samples[0].labels["version"] == name  # as it was read last
        assert found["mgral_model_dir_up"].samples[0].value == 1
    assert min(took) < AT_ONCE_SECONDS
    monkeypatch.setattr(metrics, "OLD_SECONDS", 0)
    assert value(client, "mgral_model_dir_up") == 0
    hanging.set()


def test_openmetrics_is_answered_to_whom_asks_for_it(client: FlaskClient) -> None:
    answer = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.content_type.startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_the_counts_of_several_processes_are_added() -> None:
    program = """
import os
from backend.web.watch.counts import counted, counts_in_files
with counts_in_files() as directory:
    from backend import counters
    for _ in range(2):
        if not os.fork():
            counters.predictions(known=3)
            os._exit(0)
    for _ in range(2):
        os.wait()
    print([s.value for family in counted() for s in family.samples if s.name == "mgral_predictions_total"])
print(directory.exists())
"""
    environment = {name: text for name, text in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == ["[6.0]", "False"]

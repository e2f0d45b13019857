"""How jobs fail: what is tried again and what is not, with a real queue and a Label Studio that is away."""

from __future__ import annotations

import pytest
from rq import Retry
from rq.job import Job

from backend.jobs import running
from backend.jobs.running import PAUSES
from backend.project.work import ProjectWork
from backend.queue.enqueue import Jobs
from backend.queue.graph import Graph
from backend.queue.progress import Progress, describe
from backend.queue.worker import worker
from backend.settings import Settings
from model.artefacts import ArtefactsAway


@pytest.fixture
def jobs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    monkeypatch.setattr(running, "get_settings", lambda: settings)
    return Jobs(settings)


def work(jobs: Jobs, kind: str = "train") -> Job:
    job, _ = jobs.enqueue(kind, 1)
    worker(jobs).work(burst=True)
    return job


def test_a_label_studio_that_is_away_is_tried_again_with_growing_pauses_for_days(jobs: Jobs) -> None:
    job = work(jobs)
    seen = describe(job)
    assert seen["status"] == "scheduled"
    assert "does not answer" in seen["error"]
    assert f"trying again in 10 s, {len(PAUSES) - 1} tries left" in seen["error"]
    assert jobs.head(1) == job  # asking again gives the same job
    jobs.slow.scheduled_job_registry.remove(job)
    jobs.slow.enqueue_job(job)
    worker(jobs).work(burst=True)
    assert f"trying again in 30 s, {len(PAUSES) - 2} tries left" in describe(job)["error"]
    assert 3 * 24 * 3600 < sum(PAUSES) < 4 * 24 * 3600
    assert sorted(PAUSES) == PAUSES


def test_a_job_is_given_up_after_the_last_try(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("train", 1)
    job.meta["tries"] = len(PAUSES)
    job.save_meta()
    worker(jobs).work(burst=True)
    seen = describe(job)
    assert seen["status"] == "failed"
    assert "given up" in seen["error"]


def test_a_fault_that_would_come_again_is_not_tried_again(settings: Settings, jobs: Jobs) -> None:
    settings.label_studio_api_key = ""
    seen = describe(work(jobs, "rank"))
    assert seen["status"] == "failed"
    assert "LABEL_STUDIO_API_KEY" in seen["error"]


def test_a_cycle_that_failed_lets_the_next_one_begin(settings: Settings, jobs: Jobs) -> None:
    settings.label_studio_api_key = ""
    first, _ = jobs.enqueue("rank", 1)
    following, _ = jobs.enqueue("train", 1)
    assert describe(following)["status"] == "deferred"
    worker(jobs).work(burst=True)  # both: the first fails, the second begins and fails
    assert [describe(job)["status"] for job in (first, following)] == ["failed", "failed"]
    assert jobs.head(1) is None
    assert jobs.enqueue("train", 1)[1]


def test_what_a_failed_cycle_began_is_not_begun_again(settings: Settings, jobs: Jobs) -> None:
    settings.label_studio_api_key = ""
    work(jobs)
    assert not settings.artefacts.exists("1/cycle.json")


def test_a_job_that_slipped_into_a_cancelled_cycle_does_nothing(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("rank", 1)
    Graph.of(job).close()  # while another job was adding this one
    worker(jobs).work(burst=True)
    assert describe(job)["error"] == f"the cycle {job.id} was cancelled"


def test_a_bucket_that_is_away_when_all_is_live_fails_nothing(
    settings: Settings, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, _ = jobs.enqueue("rank", 1)
    job = jobs.add(head.id, "publish", 1, "c")
    work = ProjectWork(1, settings, jobs, Progress(job, running.STAGES["publish"]))

    def away(project: int) -> None:
        raise ArtefactsAway(f"{project}/cycle.json")

    monkeypatch.setattr(jobs, "note_end", away)
    assert isinstance(running._run("publish", work, job, dict), Retry)
    monkeypatch.undo()
    assert running._run("publish", work, job, dict) == {}


def test_a_redis_that_takes_no_writes_is_waited_for(settings: Settings, jobs: Jobs) -> None:
    job, _ = jobs.enqueue("rank", 1)
    work = ProjectWork(1, settings, jobs, Progress(job, running.STAGES["survey"]))

    def full() -> dict:
        jobs.connection.config_set("maxmemory", 1)
        try:
            jobs.add(job.id, "rank", 1, "c")
        finally:
            jobs.connection.config_set("maxmemory", 0)
        return {}

    assert isinstance(running._run("survey", work, job, full), Retry)
    assert "trying again" in describe(job)["error"]

"""How jobs fail: what is tried again and what is not, with a real queue and a Label Studio that is away."""

from __future__ import annotations

import pytest
from rq import SimpleWorker
from rq.job import JobStatus

from backend.jobs import running
from backend.queue.enqueue import Jobs
from backend.queue.progress import describe
from backend.settings import Settings


def work(settings: Settings, monkeypatch: pytest.MonkeyPatch, kind: str = "train") -> dict:
    monkeypatch.setattr(running, "get_settings", lambda: settings)
    jobs = Jobs(settings)
    job, _ = jobs.enqueue(kind, 1)
    SimpleWorker([jobs.queue], connection=jobs.connection).work(burst=True)
    return describe(job)


def test_a_label_studio_that_is_away_is_tried_again_later(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = work(settings, monkeypatch)
    assert seen["status"] == JobStatus.SCHEDULED.value
    assert "does not answer" in seen["error"]
    assert "3 tries left" in seen["error"]


def test_a_fault_that_would_come_again_is_not_tried_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.label_studio_api_key = ""
    seen = work(settings, monkeypatch, "rank")
    assert seen["status"] == JobStatus.FAILED.value
    assert "LABEL_STUDIO_API_KEY" in seen["error"]


def test_a_failed_job_frees_its_project(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.label_studio_api_key = ""
    work(settings, monkeypatch)
    jobs = Jobs(settings)
    assert jobs.exclusive(1).acquire(blocking=False)
    assert jobs.enqueue("train", 1)[1]

"""What the jobs of a cycle took, read from a real Redis. The benches themselves need a whole installation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rq.job import Job

from backend.queue.enqueue import Jobs
from backend.settings import Settings
from bench.installation import BenchError, report, timeline


def ran(job: Job, head: Job, queued: float, began: float, ended: float) -> None:
    """Note when a job waited and ran, in seconds since its cycle was asked for."""
    job.enqueued_at, job.started_at, job.ended_at = (
        head.created_at + timedelta(seconds=seconds) for seconds in (queued, began, ended)
    )
    job.worker_name = "0123456789"
    job.save()


def test_a_cycle_is_told_in_the_order_in_which_its_jobs_began(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = Jobs(settings)
    head, _ = jobs.enqueue("train", 1)
    first, second = (jobs.add(head.id, "scan", 1, "cycle", k, name=f"scan-{k}") for k in (0, 1))
    jobs.add(head.id, "clean_up", 1)  # runs on after the cycle
    ran(head, head, 0, 0.5, 10)
    ran(first, head, 10, 14, 20)
    ran(second, head, 10, 10.5, 13.5)
    times = timeline(head)
    assert [(job.name, job.part) for job in times] == [("train", "train"), ("scan-1", "scan"), ("scan-0", "scan")]
    assert [job.began - job.queued for job in times] == [0.5, 0.5, 4.0]
    assert [job.seconds for job in times] == [9.5, 3.0, 6.0]
    report("one worker", times)
    said = capsys.readouterr().out
    assert "train 9.5, scan 9.0" in said
    assert "to the live order: 20.0 s" in said


def test_a_cycle_that_has_not_ended_has_no_times(settings: Settings) -> None:
    head, _ = Jobs(settings).enqueue("train", 1)
    with pytest.raises(BenchError, match="has not ended"):
        timeline(head)

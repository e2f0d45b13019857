"""Whoever can write to Redis must not be able to run code: in the backend, which reads jobs, or in a worker."""

from __future__ import annotations

import json
import os
import pickle
import zlib
from pathlib import Path
from typing import Any

import pytest
from rq import Callback, Queue
from rq.job import Job, JobStatus
from rq.webhook import Webhook

import backend.jobs
from backend.queue.enqueue import Jobs
from backend.queue.job import ForbiddenJobError, Json, MgralJob
from backend.queue.progress import describe
from backend.queue.worker import worker
from backend.settings import Settings


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (self.command,)


@pytest.fixture
def jobs(settings: Settings) -> Jobs:
    return Jobs(settings)


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """Exists once foreign code has run."""
    return tmp_path / "proof"


def work(jobs: Jobs) -> None:
    worker(jobs).work(burst=True)


def test_a_function_that_is_not_on_the_list_is_not_called(jobs: Jobs, proof: Path) -> None:
    job = jobs.queue.enqueue("os.system", f"touch {proof}")
    work(jobs)
    assert job.get_status() == JobStatus.FAILED
    result = job.latest_result()
    assert result is not None
    assert "os.system" in str(result.exc_string)
    assert not proof.exists()


def test_a_pickled_meta_is_read_by_nobody(jobs: Jobs, proof: Path) -> None:
    job, _ = jobs.enqueue("predict", 1)
    jobs.connection.hset(job.key, "meta", pickle.dumps(Payload(f"touch {proof}")))
    seen = describe(MgralJob.fetch(job.id, jobs.connection, Json))
    assert seen["kind"] is None
    assert not proof.exists()


def test_a_pickled_job_fails_and_the_worker_goes_on(jobs: Jobs, proof: Path) -> None:
    job, _ = jobs.enqueue("predict", 1)
    data = pickle.dumps(("backend.jobs.predict", None, (Payload(f"touch {proof}"),), {}))
    jobs.connection.hset(job.key, "data", zlib.compress(data))
    other = Queue(jobs.queue.name, connection=jobs.connection, serializer=Json).enqueue("no.such", 1)
    work(jobs)
    assert not proof.exists()
    assert Job.fetch(other.id, jobs.connection, Json).get_status() == JobStatus.FAILED
    assert jobs.queue.count == 0


def test_callbacks_and_webhooks_of_a_foreign_job_are_not_called(jobs: Jobs) -> None:
    plain = Queue(jobs.queue.name, connection=jobs.connection, serializer=Json)
    job = plain.enqueue(
        "os.getcwd",
        on_failure=Callback("os.system"),
        on_stopped=Callback("os.system"),
        webhooks=[Webhook("http://127.0.0.1:9/", "failed")],
    )
    read = MgralJob.fetch(job.id, jobs.connection, Json)
    assert read.failure_callback is None
    assert read.success_callback is None
    assert read.stopped_callback is None
    assert read.webhooks == []


@pytest.mark.parametrize(
    ("part", "arguments"),
    [
        ("scan", (1, "../../../../escaped", 1)),
        ("scan", (1, "rank-1", "../../../../../escaped")),
        ("scan", ("../escaped", "rank-1", 1)),
        ("survey", (1, "/escaped")),
        ("survey", (1, "a/../../../escaped")),
        ("survey", (1, "rank-1", "../escaped")),
        ("survey", (1, "..")),
        ("publish", (1, ["escaped"])),
        ("predict", (True,)),
        ("predict", (-1,)),
        ("predict", ("1",)),
        ("variant", (1, "rank-1", -1)),
        ("variant", (1, "rank-1", {"a": 1})),
        ("variant", (1, "x\n", 1)),
    ],
    ids=str,
)
def test_what_a_job_names_is_no_path(part: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ForbiddenJobError, match="who wrote it to Redis") as refused:
        getattr(backend.jobs, part)(*arguments)
    assert "\n" not in str(refused.value)


def test_a_job_of_a_cycle_elsewhere_writes_nothing(jobs: Jobs, settings: Settings) -> None:
    job = jobs.queue.enqueue("backend.jobs.survey", args=(1,), meta={"kind": "rank", "head": "../../../../escaped"})
    work(jobs)
    result = job.latest_result()
    assert result is not None
    assert "who wrote it to Redis" in str(result.exc_string)
    assert not any("escaped" in path.name for path in settings.artefacts.local.parents[0].rglob("*"))


def test_jobs_are_json_in_redis(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("train", 7)
    stored: dict[bytes, bytes] = jobs.connection.hgetall(job.key)  # type: ignore[assignment]
    assert json.loads(zlib.decompress(stored[b"data"])) == ["backend.jobs.train", None, [7], {}]
    assert json.loads(stored[b"meta"])["project"] == 7

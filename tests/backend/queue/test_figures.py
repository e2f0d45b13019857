"""A worker notes how each job ended, also one whose process was killed, and lets the id of its request go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from rq import get_current_job

import backend.jobs
from backend.queue.enqueue import Jobs, connect
from backend.queue.figures import Figures
from backend.queue.worker import worker
from backend.request_id import begin, end, job_id, request_id
from backend.settings import Settings

ASKED = "5f0c2e64-11d2-4e7a-9f57-0d2f6a3b1c9e"


@pytest.fixture
def run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], object]], Figures]:
    """Let a worker run a job that calls a function, in a process of its own; what the worker noted."""

    def one(do: Callable[[int], object]) -> Figures:
        monkeypatch.setattr(backend.jobs, "predict", do)
        jobs = Jobs(settings)
        begin(ASKED)
        jobs.enqueue("predict", 1)
        end()
        worker(jobs).work(burst=True, max_jobs=1)
        return Figures(jobs.connection, settings.queue_name)

    return one


def test_the_id_of_a_request_goes_on_into_what_its_job_asks_for(
    run: Callable[[Callable[[int], object]], Figures], settings: Settings, tmp_path: Path
) -> None:
    def predict(project: int) -> dict:
        (tmp_path / "ids").write_text(f"{request_id()} {job_id()}")
        Jobs(settings).enqueue("rank", project)
        return {}

    durations, images = run(predict).read()
    jobs = Jobs(settings)
    asked, follows = jobs.last("predict", 1), jobs.last("rank", 1)
    assert asked is not None
    assert follows is not None
    assert (tmp_path / "ids").read_text() == f"{ASKED} {asked.id}"
    assert follows.meta["request"] == ASKED
    assert request_id() == job_id() == ""
    (key,) = durations
    assert key == ("predict", "finished")
    assert sum(durations[key].counts) == 1
    assert 0 < durations[key].sum < 60
    assert images == {}


@pytest.mark.parametrize(("how", "outcome"), [("killed", "again"), ("failed", "failed")])
def test_what_does_not_end_well_is_noted_as_that(
    run: Callable[[Callable[[int], object]], Figures], how: str, outcome: str
) -> None:
    def predict(_: int) -> None:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        job = get_current_job()
        assert job is not None
        job.retries_left = 0  # as of one that would fail the same way again
        raise ValueError("as it is")

    assert list(run(predict).read()[0]) == [("predict", outcome)]


def test_a_redis_that_is_away_costs_the_figures_alone(settings: Settings) -> None:
    away = connect(settings.model_copy(update={"redis_url": "redis://127.0.0.1:9/0"}))
    figures = Figures(away, settings.queue_name)
    figures.see(1, 2, 1, shown=True)
    figures.images({"fetched": 1})
    figures.job(Jobs(settings).enqueue("train", 1)[0], 1.0)
    with pytest.raises(redis.ConnectionError):
        figures.read()

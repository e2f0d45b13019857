"""Against a real Redis; the jobs themselves are run by the end-to-end tests."""

import json
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner
from rq.job import JobStatus

from backend import cli
from backend.queue.enqueue import Jobs
from backend.queue.progress import Progress, describe
from backend.queue.worker import worker
from backend.settings import Settings


@pytest.fixture
def jobs(settings: Settings) -> Jobs:
    return Jobs(settings)


def test_asking_twice_gives_the_same_job(jobs: Jobs) -> None:
    first, new = jobs.enqueue("train", 1)
    again, renewed = jobs.enqueue("train", 1)
    assert new
    assert not renewed
    assert first.id == again.id
    assert jobs.queue.count == 1
    assert jobs.enqueue("train", 2)[1]
    assert jobs.enqueue("rank", 1)[1]


def test_asking_while_it_runs_asks_for_one_more_afterwards(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("train", 1)
    assert not jobs.take_again(1)
    job.set_status(JobStatus.STARTED)
    jobs.enqueue("train", 1)
    jobs.enqueue("train", 1)
    assert jobs.take_again(1)
    assert not jobs.take_again(1)


def test_a_finished_job_does_not_stand_in_the_way(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("train", 1)
    job.set_status(JobStatus.FINISHED)
    again, new = jobs.enqueue("train", 1)
    assert new
    assert again.id != job.id


def test_cancelling_drops_what_waits_and_only_that_project(jobs: Jobs) -> None:
    mine, _ = jobs.enqueue("train", 1)
    other, _ = jobs.enqueue("train", 2)
    assert [job.id for job in jobs.cancel(1)] == [mine.id]
    assert mine.get_status() == JobStatus.CANCELED
    assert other.get_status() == JobStatus.QUEUED
    assert jobs.cancel(1) == []
    assert jobs.enqueue("train", 1)[1]


def test_cancelling_a_job_whose_worker_died_keeps_it_from_being_tried_again(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("train", 1)
    with jobs.connection.pipeline() as pipeline:
        job.prepare_for_execution("a-worker-that-is-gone", pipeline)
        pipeline.execute()
    assert jobs.cancel(1) == [job]
    assert job.get_status() == JobStatus.CANCELED


def test_variants_wait_behind_everything_else(jobs: Jobs, tmp_path: Path) -> None:
    train, _ = jobs.enqueue("train", 1)
    variant = jobs.enqueue_variant(train, tmp_path, 3)
    other, _ = jobs.enqueue("predict", 2)
    order = [(queue.name, queue.job_ids) for queue in worker(jobs).queues]
    assert order == [(jobs.queue.name, [train.id, other.id]), (jobs.low.name, [variant.id])]
    assert variant.args == (1, str(tmp_path), 3)


def test_cancelling_takes_the_variants_of_that_project_too(jobs: Jobs, tmp_path: Path) -> None:
    mine, other = (jobs.enqueue("train", project)[0] for project in (1, 2))
    for index in (10, 9):
        jobs.enqueue_variant(mine, tmp_path, index)
    kept = jobs.enqueue_variant(other, tmp_path, 0)
    assert [job.meta["index"] for job in jobs.variants(1)] == [9, 10]
    assert jobs.cancel(1) == [mine]
    assert [job.get_status() for job in jobs.variants(1)] == [JobStatus.CANCELED] * 2
    assert jobs.low.job_ids == [kept.id]


def test_variants_that_are_forgotten_are_not_listed(jobs: Jobs, tmp_path: Path) -> None:
    train, _ = jobs.enqueue("train", 1)
    jobs.enqueue_variant(train, tmp_path, 0).delete()
    assert jobs.variants(1) == []


def test_the_list_of_jobs(jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(*arguments: str) -> str:
        ran = CliRunner().invoke(cli.main, ["jobs", *arguments], env={"COLUMNS": "160"}, catch_exceptions=False)
        assert ran.exit_code == 0
        return ran.output

    monkeypatch.setattr(cli, "_start", lambda: jobs.settings)
    assert listed("1") == "nothing runs, nothing waits for project 1\n"
    jobs.queue.enqueue("backend.jobs.reconcile")  # no work for a project, so not listed
    train, _ = jobs.enqueue("train", 1)
    jobs.enqueue_variant(train, tmp_path, 0)
    variant = jobs.enqueue_variant(train, tmp_path, 1)
    variant.set_status(JobStatus.STARTED)
    jobs.low.remove(variant)
    Progress(variant, {"variant": 1})("variant", 1, 4)
    jobs.enqueue("predict", 2)
    jobs.cancel(2)
    rows = json.loads(listed("--json"))
    assert [(row["kind"], row["index"], row["status"]) for row in rows] == [
        ("variant", 1, "started"),
        ("train", None, "queued"),
        ("variant", 0, "queued"),
        ("predict", None, "canceled"),
    ]
    assert len(json.loads(listed("1", "--json"))) == 3
    shown = listed().splitlines()
    assert shown[0].split() == ["project", "kind", "status", "stage", "done", "left", "worker", "error"]
    assert shown[1].split()[:6] == ["1", "variant", "1", "started", "variant", "25%"]


def test_progress_says_the_share_done_of_the_whole_and_the_seconds_of_each_stage(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("train", 1)
    progress = Progress(job, {"fetch": 1, "train": 3})
    progress("fetch", 1, 1)
    assert describe(job)["share"] == 0.25
    progress("train", 1, 2, loss=1.23456)
    seen = describe(job)
    assert seen["share"] == 0.625
    assert seen["stage"] == "train"
    assert seen["figures"] == {"loss": 1.2346}
    progress.say("a line")
    progress.finish()
    seen = describe(job)
    assert seen["log"] == ["a line"]
    assert set(seen["stages"]) == {"fetch", "train"}


def test_reconciling_is_scheduled_once(jobs: Jobs) -> None:
    jobs.schedule_reconcile(60)
    jobs.schedule_reconcile(60)
    assert jobs.queue.scheduled_job_registry.count == 1
    assert jobs.queue.count == 0


def test_a_lock_is_held_by_one_at_a_time(jobs: Jobs) -> None:
    lock = jobs.exclusive(1)
    assert lock.acquire(blocking=False)
    assert not jobs.exclusive(1).acquire(blocking=False)
    assert jobs.exclusive(2).acquire(blocking=False)
    lock.release()
    assert jobs.exclusive(1).acquire(blocking=False)


def test_a_dead_redis_is_noticed_at_once() -> None:
    away = Settings(_env_file=None, redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(redis.RedisError):
        Jobs(away).enqueue("train", 1)

"""Against a real Redis; the jobs themselves are run by the end-to-end tests."""

import pytest
import redis
from rq.job import JobStatus

from backend.queue import Jobs, Progress, describe
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

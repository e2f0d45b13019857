"""Against a real Redis; the jobs themselves are run by the end-to-end tests."""

import json
from datetime import timedelta

import pytest
import redis
from click.testing import CliRunner
from rq.job import Job, JobStatus
from rq.utils import now

from backend import cli
from backend.queue.enqueue import DEATHS, WAITING, Jobs
from backend.queue.graph import CycleCancelledError
from backend.queue.job import Json, MgralJob
from backend.queue.progress import LostError, Progress, describe
from backend.queue.recovery import recover
from backend.queue.worker import patient, worker
from backend.settings import Settings


@pytest.fixture
def jobs(settings: Settings) -> Jobs:
    return Jobs(settings)


def begin(job: Job) -> None:
    """As a worker does that takes a job."""
    with job.connection.pipeline() as pipeline:
        job.prepare_for_execution("a-worker-that-is-gone", pipeline)
        pipeline.execute()


def status(job: Job) -> str:
    return job.get_status().value


def test_asking_twice_gives_the_same_job(jobs: Jobs) -> None:
    first, new = jobs.enqueue("train", 1)
    again, renewed = jobs.enqueue("train", 1)
    assert new
    assert not renewed
    assert first.id == again.id
    assert jobs.slow.count == 1
    assert jobs.enqueue("train", 2)[1]
    assert jobs.enqueue("rank", 1) == (first, False)  # a training ends with a ranking
    assert jobs.enqueue("predict", 1)[1]


def test_asking_while_a_training_runs_lets_one_more_follow_it(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("train", 1)
    begin(job)
    following, new = jobs.enqueue("train", 1)
    assert new
    assert status(following) == "deferred"
    assert jobs.slow.job_ids == [job.id]
    assert jobs.enqueue("train", 1) == (following, False)
    jobs.advance(1)
    assert status(following) == "deferred"
    jobs.advance(1, ended=job.id)
    assert status(following) == "queued"
    assert jobs.head(1) == following
    assert jobs.slow.job_ids == [job.id, following.id]


@pytest.mark.timeout(5)
def test_events_that_ask_for_the_training_that_follows_anyway_wait_for_nobody(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("train", 1)
    begin(job)
    following, _ = jobs.enqueue("train", 1)
    with jobs.connection.lock(jobs._key("enqueue", 1)):  # somebody asks for something, and is slow
        assert jobs.enqueue("train", 1) == (following, False)


def test_a_training_asked_for_during_a_ranking_follows_it_and_a_ranking_anew_does_too(jobs: Jobs) -> None:
    ranking, _ = jobs.enqueue("rank", 1)
    begin(ranking)
    assert jobs.enqueue("rank", 1) == (ranking, False)
    anew, new = jobs.enqueue("rank", 1, anew=True)  # somebody let another version serve
    assert new
    training, new = jobs.enqueue("train", 1)
    assert new
    assert status(anew) == "canceled"  # the training ends with a ranking
    assert jobs.enqueue("rank", 1, anew=True) == (training, False)
    jobs.advance(1, ended=ranking.id)
    assert jobs.head(1) == training


def test_a_cycle_goes_on_until_all_its_jobs_have_ended(jobs: Jobs) -> None:
    head, _ = jobs.enqueue("train", 1)
    scans = [jobs.add(head.id, "scan", 1, "c", k, name=f"scan-{k}") for k in range(2)]
    rank = jobs.add(head.id, "rank", 1, "c", after=scans)
    head.set_status(JobStatus.FINISHED)
    assert [status(job) for job in (*scans, rank)] == ["queued", "queued", "deferred"]
    assert jobs.add(head.id, "scan", 1, "c", 0, name="scan-0") == scans[0]  # added before a crash
    assert jobs.low.job_ids == [scan.id for scan in scans]
    assert jobs.head(1) == head
    assert jobs.active("train", 1) == head
    for job in (*scans, rank):
        job.set_status(JobStatus.FINISHED)
    assert jobs.head(1) is None
    again, new = jobs.enqueue("train", 1)
    assert new
    assert again.id != head.id


def test_cancelling_drops_what_waits_and_only_that_project(jobs: Jobs) -> None:
    mine, _ = jobs.enqueue("train", 1)
    other, _ = jobs.enqueue("train", 2)
    assert jobs.cancel(1) == [mine]
    assert status(mine) == "canceled"
    assert status(other) == "queued"
    assert jobs.cancel(1) == []
    assert jobs.enqueue("train", 1)[1]


def test_cancelling_ends_the_whole_graph_and_what_was_to_follow(jobs: Jobs) -> None:
    head, _ = jobs.enqueue("train", 1)
    begin(head)
    following, _ = jobs.enqueue("train", 1)
    variants = [jobs.add(head.id, "variant", 1, "c", k, name=f"variant-{k}", index=k) for k in range(2)]
    rank = jobs.add(head.id, "rank", 1, "c", after=variants)
    assert set(jobs.cancel(1)) == {head, following}  # the head's worker died: it is cancelled, not stopped
    assert [status(job) for job in (head, following, *variants, rank)] == ["canceled"] * 5
    assert jobs.low.count == 0
    with pytest.raises(CycleCancelledError):
        jobs.add(head.id, "publish", 1, "c")


def test_a_job_that_was_lost_on_its_way_to_a_worker_is_found(jobs: Jobs) -> None:
    head, _ = jobs.enqueue("train", 1)
    jobs.slow.pop_job_id()  # by a worker that died before it began
    assert recover(jobs, 1) == []  # it may be just beginning
    jobs.connection.hset(head.key, "enqueued_at", "2026-01-01T00:00:00.000000Z")
    (line,) = recover(jobs, 1)
    assert head.id in line
    assert jobs.slow.job_ids == [head.id]


def test_what_comes_after_a_cycle_is_found_too(jobs: Jobs) -> None:
    head, _ = jobs.enqueue("train", 1)
    jobs.slow.pop_job_id()
    begin(head)
    head.set_status(JobStatus.FINISHED)
    judged = jobs.add(head.id, "cross_fit", 1, "c")
    assert jobs.head(1) is None  # nobody waits for it
    assert jobs.enqueue("rank", 1)[1]
    jobs.low.pop_job_id()
    jobs.connection.hset(judged.key, "enqueued_at", "2026-01-01T00:00:00.000000Z")
    (line,) = recover(jobs, 1)
    assert judged.id in line
    assert jobs.low.job_ids == [judged.id]


def test_a_job_whose_workers_all_died_says_so_and_leaves_nothing_to_begin_again(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("train", 1)
    jobs.note_begin(1, "train")
    for _ in range(DEATHS + 1):
        jobs.slow.pop_job_id()
        begin(job)
        jobs.connection.zadd(jobs.slow.started_job_registry.key, {f"{job.id}:x": 1})
        jobs.slow.started_job_registry.cleanup()
    seen = describe(job)
    assert seen["status"] == "failed"
    assert "AbandonedJobError" in seen["error"]
    assert "memory" in seen["error"]
    recover(jobs, 1)
    job.delete()  # after KEEP_SECONDS
    assert recover(jobs, 1) == []
    assert jobs.head(1) is None


def test_a_cycle_that_runs_or_waits_is_begun_again_where_redis_forgets_it(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("train", 1)
    jobs.note_begin(1, "train")
    assert recover(jobs, 1) == []
    job.delete()
    (line,) = recover(jobs, 1)
    assert "train is asked for again" in line


def test_a_clock_that_was_ahead_puts_nothing_off(jobs: Jobs) -> None:
    head, _ = jobs.enqueue("train", 1)
    jobs.slow.pop_job_id()
    head.meta["pause"] = 30
    head.save_meta()
    head.set_status(JobStatus.SCHEDULED)
    jobs.slow.schedule_job(head, now() + timedelta(seconds=30))
    assert recover(jobs, 1) == []
    jobs.slow.schedule_job(head, now() + timedelta(days=1))
    (line,) = recover(jobs, 1)
    assert "waits no more" in line
    assert jobs.slow.job_ids == [head.id]


def test_what_is_quick_goes_first_and_what_may_wait_last(jobs: Jobs) -> None:
    train, _ = jobs.enqueue("train", 1)
    scan = jobs.add(train.id, "scan", 1, "c", 0)
    predict, _ = jobs.enqueue("predict", 2)
    assert [queue.job_ids for queue in worker(jobs).queues] == [[predict.id], [train.id], [scan.id]]


def test_a_worker_waits_for_work_without_breaking_off(settings: Settings) -> None:
    jobs = patient(settings)
    jobs.connection.ping()  # a connection that is older than the worker
    employed = worker(jobs)
    seconds = employed.connection.connection_pool.get_connection().socket_timeout
    assert seconds is not None
    assert seconds > employed.dequeue_timeout


def test_the_list_of_jobs(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(*arguments: str) -> str:
        ran = CliRunner().invoke(cli.main, ["jobs", *arguments], env={"COLUMNS": "160"}, catch_exceptions=False)
        assert ran.exit_code == 0
        return ran.output

    monkeypatch.setattr(cli, "_start", lambda: jobs.settings)
    assert listed("1") == "nothing runs, nothing waits for project 1\n"
    jobs.reconcile_soon()  # no work for a project, so not listed
    train, _ = jobs.enqueue("train", 1)
    variants = [jobs.add(train.id, "variant", 1, "c", k, name=f"variant-{k}", index=k) for k in range(2)]
    train.set_status(JobStatus.FINISHED)
    jobs.slow.remove(train)
    begin(variants[1])
    jobs.low.remove(variants[1])
    jobs.low.started_job_registry.connection.zadd(jobs.low.started_job_registry.key, {f"{variants[1].id}:x": 9e9})
    Progress(MgralJob.fetch(variants[1].id, jobs.connection, Json), {"variant": 1})("variant", 1, 4)
    jobs.enqueue("predict", 2)
    jobs.cancel(2)
    rows = json.loads(listed("--json"))
    assert [(row["kind"], row["index"], row["status"]) for row in rows] == [
        ("train", None, "started"),
        ("variant", 1, "started"),
        ("variant", 0, "queued"),
        ("predict", None, "canceled"),
    ]
    assert len(json.loads(listed("1", "--json"))) == 3
    shown = listed().splitlines()
    assert shown[0].split() == ["project", "kind", "status", "stage", "done", "left", "worker", "error"]
    assert shown[2].split()[:6] == ["1", "variant", "1", "started", "variant", "25%"]


def test_progress_says_the_share_done_of_the_whole_and_the_seconds_of_each_stage(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("predict", 1)
    progress = Progress(job, {"fetch": 1, "scan": 3})
    progress("fetch", 1, 1)
    assert describe(job)["share"] == 0.25
    progress("scan", 1, 2, loss=1.23456)
    seen = describe(job)
    assert seen["share"] == 0.625
    assert seen["stage"] == "scan"
    assert seen["figures"] == {"loss": 1.2346}
    progress.say("a line")
    progress.finish()
    seen = describe(job)
    assert seen["log"] == ["a line"]
    assert set(seen["stages"]) == {"fetch", "scan"}


def test_the_head_of_a_cycle_tells_of_all_its_jobs(jobs: Jobs) -> None:
    head, _ = jobs.enqueue("train", 1)
    assert describe(head)["status"] == "queued"
    begin(head)
    progress = Progress(head, {"train": 1})
    progress.say("training")
    progress("train", 1, 2)
    assert describe(head)["share"] == pytest.approx(0.5 * 39 / 96, abs=1e-4)
    controls = [jobs.add(head.id, "variant", 1, "c", 0, name="variant-0", control=True)]
    others = [jobs.add(head.id, "variant", 1, "c", k, name=f"variant-{k}", after=controls) for k in (1, 2)]
    head.set_status(JobStatus.FINISHED)
    begin(controls[0])
    seen = describe(head)
    assert (seen["status"], seen["stage"], seen["done"], seen["total"]) == ("started", "controls", 0, 1)
    assert seen["figures"] == {"workers": 1}
    for job in (*controls, others[0]):
        job.set_status(JobStatus.FINISHED)
    begin(others[1])
    seen = describe(head)
    assert (seen["stage"], seen["done"], seen["total"]) == ("variants", 1, 2)
    assert seen["share"] == pytest.approx((52 + 32 * 2 / 3) / 96, abs=1e-4)
    others[1].set_status(JobStatus.FAILED)  # the order does without it
    rank = jobs.add(head.id, "rank", 1, "c")
    begin(rank)
    Progress(MgralJob.fetch(rank.id, jobs.connection, Json), {"rank": 1}).fail("no order")
    rank.set_status(JobStatus.FAILED)
    seen = describe(head)
    assert (seen["status"], seen["error"]) == ("failed", "no order")
    assert seen["log"] == ["training", "no order"]


def test_the_start_of_hindsight_is_told_of_where_it_alone_is_waited_for(jobs: Jobs) -> None:
    head, _ = jobs.enqueue("train", 1)
    begin(head)
    beside = jobs.add(head.id, "hindsight", 1, "c", "v0001")
    begin(beside)
    progress = Progress(MgralJob.fetch(beside.id, jobs.connection, Json), {"hindsight": 1})
    progress("hindsight", 1, 2)
    Progress(head, {"train": 1})("train", 1, 2)
    assert describe(head)["stage"] == "train"
    survey = jobs.add(head.id, "survey", 1, "c", "v0001")
    head.set_status(JobStatus.FINISHED)
    assert describe(head)["stage"] == WAITING
    jobs.add(head.id, "plan", 1, "c", after=[beside])
    survey.set_status(JobStatus.FINISHED)
    seen = describe(head)
    assert (seen["stage"], seen["done"], seen["total"]) == ("hindsight", 1, 2)
    assert seen["share"] == pytest.approx((39 + 3 + 8 + 6 / 2) / 102, abs=1e-4)


def test_work_on_a_job_that_redis_gave_to_somebody_else_ends(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("predict", 1)
    begin(job)
    progress = Progress(job, {"scan": 1})
    progress("scan", 0, 1)
    jobs.connection.hset(job.key, "worker_name", "another")  # ours was suspended for minutes
    with pytest.raises(LostError, match="not this worker's"):
        progress("scan", 1, 1)
    job.delete()  # Redis lost its data
    with pytest.raises(LostError, match="not known"):
        progress.check()
    progress.say("a last word")
    assert not jobs.connection.exists(job.key)


def test_work_goes_on_while_redis_takes_no_writes(jobs: Jobs) -> None:
    job, _ = jobs.enqueue("predict", 1)
    begin(job)
    progress = Progress(job, {"scan": 1})
    jobs.connection.config_set("maxmemory", 1)  # it is full, and may not evict anything
    try:
        progress("scan", 0, 1)
        progress.say("an image was left out")
    finally:
        jobs.connection.config_set("maxmemory", 0)
    progress("scan", 1, 1)
    assert describe(job)["log"] == ["an image was left out"]


def test_a_worker_killed_while_it_looks_for_abandoned_jobs_keeps_others_from_it_for_seconds(jobs: Jobs) -> None:
    assert jobs.slow.acquire_maintenance_lock()
    assert not jobs.slow.acquire_maintenance_lock()
    assert 0 < int(jobs.connection.ttl(jobs.slow.registry_cleaning_key)) <= 20


def test_a_dead_redis_is_noticed_at_once() -> None:
    away = Settings(_env_file=None, redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(redis.RedisError):
        Jobs(away).enqueue("train", 1)

"""What repeats goes on for ever: at its own clock, with the expiry rules of the default, whatever becomes of Redis."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from rq import Worker
from rq.utils import now

from backend.commands.local import LocalStack, attempts
from backend.queue.cron import Cron, _keep_on
from backend.queue.enqueue import Jobs
from backend.queue.worker import worker
from backend.settings import Settings

PERIOD = {"RECONCILE_SECONDS": "1", "LABEL_STUDIO_URL": "http://127.0.0.1:9", "WEIGHTS": "starter"}


@pytest.fixture
def installation() -> Iterator[LocalStack]:
    """Redis and a worker, with one project that is live, and no Label Studio: each reconciling says so."""
    directory = Path(tempfile.mkdtemp(prefix="mgral-cron-", dir="/tmp"))  # a Unix socket's path must be short
    damaged, project = (directory / "models" / name for name in "12")
    for folder in (damaged, project):
        folder.mkdir(parents=True)
    (damaged / "published.json").write_text("[{")  # keeps nothing from the others
    entry = '[{"model_version": "v1-r001", "version": "v1", "strategy": "entropy", "annotations": 0}]'
    (project / "published.json").write_text(entry)
    (project.parent / "lost+found").mkdir()  # a directory that is no project's
    try:
        with LocalStack(directory) as stack:
            stack.start_redis()
            stack.start_worker(**PERIOD)
            yield stack
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def until_reconciled(stack: LocalStack, times: int) -> None:
    before = stack.log("work").read_text().count("reconciling waits")
    for _ in attempts(40):
        if stack.log("work").read_text().count("reconciling waits") >= before + times:
            return
    raise AssertionError(f"not reconciled {times} times in 40 s: {stack.tail('work', 20)}")


@pytest.mark.timeout(150)
def test_reconciling_repeats_also_after_redis_lost_its_data(installation: LocalStack) -> None:
    until_reconciled(installation, 3)
    installation.stop("redis", kill=True)
    installation.start_redis()  # empty
    until_reconciled(installation, 3)
    jobs = Jobs(installation.settings(**PERIOD))
    for _ in attempts(30):
        listening = [w.queue_names() for w in Worker.all(connection=jobs.connection)]
        if any(jobs.slow.name in names for names in listening):
            break
    assert any(jobs.slow.name in names for names in listening), "the worker is not registered again"
    assert installation.processes["work"].poll() is None


def test_one_of_several_workers_enqueues(settings: Settings) -> None:
    jobs = Jobs(settings)
    first, second = Cron(jobs), Cron(jobs)
    for cron in (first, second):
        cron.reconciling.set_enqueue_time(now() - timedelta(seconds=settings.reconcile_seconds))
    assert first.enqueue_jobs() == [first.reconciling]
    assert second.enqueue_jobs() == []
    assert jobs.queue.count == 1
    jobs.connection.delete(first.lock.name)  # it died, or Redis lost its data
    assert second.enqueue_jobs() == [second.reconciling]
    assert jobs.queue.count == 1  # one waits already
    assert first.enqueue_jobs() == []


def test_installations_on_one_redis_do_not_meet(settings: Settings) -> None:
    other = settings.model_copy(update={"queue_name": f"{settings.queue_name}-other"})
    for jobs in (Jobs(settings), Jobs(other)):
        cron = Cron(jobs)
        cron.reconciling.set_enqueue_time(now() - timedelta(seconds=settings.reconcile_seconds))
        assert cron.enqueue_jobs()
        assert jobs.queue.count == 1


@pytest.mark.parametrize("name", ["our queue", "team.a", "a:b", "équipe", "a/b*"])
def test_any_name_of_the_queue_is_reconciled(settings: Settings, name: str) -> None:
    jobs = Jobs(settings.model_copy(update={"queue_name": f"{name}-{settings.queue_name}"}))
    for _ in range(2):
        jobs.reconcile_soon()
    assert jobs.queue.count == 1
    worker(jobs).work(burst=True)
    assert jobs.queue.count == 0


def test_what_repeats_goes_on_whatever_went_wrong_once(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = iter([redis.ConnectionError("away"), ValueError("a name that RQ refuses"), SystemExit()])

    def start(_: Cron) -> None:
        raise next(wrong)

    monkeypatch.setattr(Cron, "start", start)
    monkeypatch.setattr("backend.queue.cron.AWAY_SECONDS", 0.0)
    with pytest.raises(SystemExit):
        _keep_on(Jobs(settings))


def test_a_clock_that_was_a_day_ahead_puts_nothing_off(settings: Settings) -> None:
    cron = Cron(Jobs(settings))
    assert not cron.reconciling.should_run()
    cron.reconciling.set_enqueue_time(now() + timedelta(days=1))
    assert cron.reconciling.should_run()

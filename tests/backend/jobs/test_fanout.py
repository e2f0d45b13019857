"""Variants on real workers: forked processes at a real Redis, some of which are killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from rq import SimpleWorker, get_current_job
from rq.job import Job, JobStatus

from backend.commands.local import attempts
from backend.jobs import fanout, fanout_state
from backend.jobs.fanout import fan_out, run_claimed
from backend.queue import enqueue as queue
from backend.queue.enqueue import Jobs
from backend.queue.progress import Progress, describe
from backend.queue.worker import worker
from backend.settings import Settings
from model.progress import Report

PROJECT = 1


class Bench:
    """A project whose training is nothing but variants; files say what each is to do, and say what it did."""

    def __init__(self, settings: Settings) -> None:
        self.jobs = Jobs(settings)
        self.folder = settings.model_dir / "variants"
        self.folder.mkdir(parents=True)
        self.workers: list[BaseProcess] = []

    def train(self, project: int, variants: int) -> dict[int, str]:
        progress = Progress(get_current_job(), {"variants": 1})
        return fan_out(
            self.jobs, project, self.folder, range(variants), self.run, self.done, progress, stage="variants"
        )

    def variant(self, project: int, folder: str, index: int) -> str:
        assert project == PROJECT
        return run_claimed(self.jobs, Path(folder), index, self.run, self.done)

    def run(self, folder: Path, index: int, report: Report) -> None:
        with (folder / f"started-{index}").open("a") as starts:
            starts.write(f"{os.getppid()} {os.getpid()}\n")
        report(0, 2)
        if (folder / f"raise-{index}").exists():
            raise ArithmeticError("the loss\nis not finite")
        if (folder / f"raise-once-{index}").exists():
            (folder / f"raise-once-{index}").unlink()
            raise ArithmeticError("not again")
        while (folder / f"hold-{index}").exists():
            report(1, 2, loss=0.5)
            time.sleep(0.02)
        (folder / f"new-{index}").write_text("done")
        (folder / f"new-{index}").rename(folder / f"result-{index}")

    def done(self, index: int) -> bool:
        return (self.folder / f"result-{index}").exists()

    def let(self, what: str, *indices: int) -> None:
        for index in indices:
            (self.folder / f"{what}-{index}").touch()

    def release(self, *indices: int) -> None:
        for index in indices:
            (self.folder / f"hold-{index}").unlink()

    def starts(self, index: int) -> list[tuple[int, int]]:
        """(worker, process) of every start of a variant."""
        path = self.folder / f"started-{index}"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(line.split()[0]), int(line.split()[1])) for line in lines]

    def start_worker(self) -> BaseProcess:
        process = multiprocessing.get_context("fork").Process(target=self._work)
        process.start()
        self.workers.append(process)
        return process

    def _work(self) -> None:
        worker(self.jobs).work(logging_level="WARNING")

    def start_training(self, variants: int) -> Job:
        return self.jobs.enqueue("train", PROJECT, variants=variants)[0]

    def start_held(self, variants: int, *held: int, workers: int = 1) -> Job:
        """A training whose first variants are held, and as many workers, each of which has come to one of them."""
        self.let("hold", *held)
        job = self.start_training(variants)
        for _ in range(workers):
            self.start_worker()
        until(lambda: all(self.starts(index) for index in range(workers)))
        return job

    def result(self, job: Job) -> dict[int, str]:
        until(lambda: job.get_status() not in queue.ACTIVE)
        assert job.get_status() == JobStatus.FINISHED, job.latest_result()
        failed = job.return_value(refresh=True)
        assert failed is not None
        return failed

    def keys(self) -> list[bytes]:
        return list(self.jobs.connection.scan_iter(self.jobs.fan_out_key("*", "*")))

    def close(self) -> None:
        for process in self.workers:
            if process.pid is not None and process.is_alive():
                kill(process.pid)
            process.join()


def until(ready: Callable[[], object], seconds: float = 30) -> None:
    for _ in attempts(seconds, pause=0.02):
        if ready():
            return
    raise AssertionError("waited in vain")


def kill(pid: int) -> None:
    """Kill a worker and the process of its job, which is in a group of its own, as the end of a machine would."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for process in (pid, *map(int, children)):
        os.kill(process, signal.SIGKILL)


@pytest.fixture
def bench(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    bench = Bench(settings)
    monkeypatch.setattr("backend.jobs.train", bench.train)  # a worker is forked, so it has these too
    monkeypatch.setattr("backend.jobs.variant", bench.variant)
    monkeypatch.setattr(fanout_state, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(fanout_state, "RENEW_SECONDS", 0.3)
    monkeypatch.setattr(queue, "RETRY_SECONDS", [0, 0])
    yield bench
    bench.close()


def test_one_worker_alone_runs_every_variant_once(bench: Bench) -> None:
    job = bench.start_training(4)
    bench.start_worker()
    assert bench.result(job) == {}
    assert [len(bench.starts(index)) for index in range(4)] == [1, 1, 1, 1]
    assert bench.keys() == []
    assert bench.jobs.low.count == 0
    assert [variant.get_status() for variant in bench.jobs.variants(PROJECT)] == [JobStatus.FINISHED] * 4
    seen = describe(bench.jobs.variants(PROJECT)[3])
    job.refresh()
    assert (seen["kind"], seen["index"], seen["share"], seen["worker"]) == ("variant", 3, 1.0, job.worker_name)


def test_what_is_done_already_is_not_run_again(bench: Bench) -> None:
    bench.let("result", 0, 2)
    job = bench.start_training(3)
    bench.start_worker()
    assert bench.result(job) == {}
    assert [len(bench.starts(index)) for index in range(3)] == [0, 1, 0]


def test_two_workers_share_and_people_see_who_runs_what(bench: Bench) -> None:
    job = bench.start_held(6, 0, 1, workers=2)
    until(lambda: describe(job)["figures"].get("workers") == 2)
    wanted = [JobStatus.STARTED, JobStatus.STARTED, JobStatus.QUEUED]
    until(lambda: [variant.get_status() for variant in bench.jobs.variants(PROJECT)[:3]] == wanted)
    until(lambda: [describe(variant)["figures"] for variant in bench.jobs.variants(PROJECT)[:2]] == [{"loss": 0.5}] * 2)
    first, second, *_ = map(describe, bench.jobs.variants(PROJECT))
    assert first["worker"] != second["worker"]
    bench.release(0, 1)
    assert bench.result(job) == {}
    starts = [bench.starts(index) for index in range(6)]
    assert [len(start) for start in starts] == [1] * 6
    assert {start[0][0] for start in starts} == {process.pid for process in bench.workers}
    assert bench.keys() == []


def test_the_variant_of_a_killed_worker_is_run_again_and_no_other(bench: Bench) -> None:
    job = bench.start_held(4, 0, 1)
    helper = bench.start_worker()
    until(lambda: bench.starts(1))
    assert helper.pid is not None
    kill(helper.pid)
    bench.release(0, 1)
    assert bench.result(job) == {}
    assert [len(bench.starts(index)) for index in range(4)] == [1, 2, 1, 1]


def test_a_training_that_is_killed_finds_what_others_finished_meanwhile(bench: Bench) -> None:
    job = bench.start_held(5, 0)
    os.kill(bench.starts(0)[0][1], signal.SIGSTOP)  # it does nothing any more, and loses its claim
    bench.start_worker()
    until(lambda: all(bench.done(index) for index in range(1, 5)))
    os.kill(bench.starts(0)[0][1], signal.SIGKILL)
    bench.release(0)
    assert bench.result(job) == {}
    assert [len(bench.starts(index)) for index in range(5)] == [2, 1, 1, 1, 1]


def test_a_variant_that_raises_is_tried_twice_and_left_out(bench: Bench) -> None:
    bench.let("raise", 1)
    bench.let("raise-once", 2)
    job = bench.start_training(4)
    bench.start_worker()
    assert bench.result(job) == {1: "ArithmeticError: the loss is not finite"}
    assert [len(bench.starts(index)) for index in range(4)] == [1, 2, 2, 1]
    seen = describe(bench.jobs.variants(PROJECT)[1])
    assert (seen["status"], seen["error"]) == ("failed", "ArithmeticError: the loss is not finite")
    assert describe(job)["log"] == ["variant 1 left out: ArithmeticError: the loss is not finite"]


def test_a_variant_that_raises_on_another_worker_is_left_out_too(bench: Bench) -> None:
    bench.let("raise", 1)
    job = bench.start_held(3, 0)
    bench.start_worker()
    until(lambda: bench.done(2))
    bench.release(0)
    assert bench.result(job) == {1: "ArithmeticError: the loss is not finite"}
    assert len(bench.starts(1)) == 2
    assert describe(bench.jobs.variants(PROJECT)[1])["status"] == "failed"


def test_a_variant_that_kills_its_processes_is_given_up(bench: Bench) -> None:
    job = bench.start_training(3)
    bench.jobs.connection.hset(bench.jobs.fan_out_key(job.id, "state"), "starts 1", fanout.STARTS)
    bench.start_worker()
    assert "died 3 times" in bench.result(job)[1]
    assert [len(bench.starts(index)) for index in range(3)] == [1, 0, 1]


def test_cancelling_ends_the_training_and_its_variants_everywhere(bench: Bench) -> None:
    job = bench.start_held(6, *range(6), workers=2)
    processes = [bench.starts(index)[0][1] for index in (0, 1)]
    assert bench.jobs.cancel(PROJECT) == [job]
    until(lambda: job.get_status() == JobStatus.STOPPED, seconds=5)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), seconds=5)
    assert bench.keys() == []
    assert bench.jobs.low.count == 0
    until(lambda: not {variant.get_status() for variant in bench.jobs.variants(PROJECT)} & queue.ACTIVE, seconds=5)
    assert not any(bench.done(index) for index in range(6))
    bench.release(*range(6))
    assert bench.result(bench.start_training(6)) == {}  # the workers live on


def test_a_variant_stops_by_itself_when_its_training_is_over(bench: Bench) -> None:
    job = bench.start_held(2, 0, 1, workers=2)
    job.set_status(JobStatus.FAILED)
    helped = bench.jobs.variants(PROJECT)[1]
    until(lambda: helped.get_status() == JobStatus.FINISHED, seconds=5)
    assert str(helped.return_value(refresh=True)).startswith("stopped")
    assert not bench.done(1)


def test_a_late_variant_of_a_training_that_is_over_does_nothing(bench: Bench) -> None:
    job = bench.start_training(1)
    SimpleWorker([bench.jobs.queue], connection=bench.jobs.connection).work(burst=True)
    (bench.folder / "result-0").unlink()
    late = bench.jobs.enqueue_variant(job, bench.folder, 0)
    SimpleWorker([bench.jobs.low], connection=bench.jobs.connection).work(burst=True)
    assert str(late.return_value(refresh=True)).startswith("dropped")
    assert len(bench.starts(0)) == 1
    assert bench.keys() == []


def test_a_fan_out_outside_of_a_job_is_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="no job"):
        bench.train(PROJECT, 1)
    with pytest.raises(ValueError, match="not in a job"):
        bench.variant(PROJECT, "variants", 0)

"""All runs of a simulation, side by side in processes, each taken up where it was left."""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing.managers import SyncManager
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout

from agent.simulation.config import SimulationConfig, SimulationError
from agent.simulation.report import write_report
from agent.simulation.run import Run
from model.atomic import write_file
from model.data.dataset import Dataset
from model.processes import end_with_parent

ABOUT = "simulation.json"
START = "start"
POLL_SECONDS = 0.5


Ended = Callable[[Run, BaseException | None], None]


class GridWatch(Protocol):
    """Called as things happen: which seed, which strategy ("start" for what they share), and `Report`'s figures."""

    def __call__(self, seed: int, strategy: str, stage: str, done: int, total: int, **figures: float) -> None: ...


def simulate(
    pool: Dataset, evaluation: Dataset, config: SimulationConfig, out: Path, workers: int, watch: GridWatch
) -> dict[str, Any]:
    """Run what `out` does not hold yet, write the report after every run, and return its summary.

    Args:
        pool: images whose labels start hidden.
        evaluation: images that every model is measured on.
        workers: trainings at a time, each in a process with an equal share of the cores; 1: all in this one.

    Raises:
        SimulationError: the data do not suffice, `out` holds another simulation, another process works on it, or some
            runs failed; what was done is kept.
    """
    config.check(pool, evaluation)
    out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        runs = [Run(out, pool, evaluation, config, name, seed) for seed in config.seeds for name in config.strategies]
        _same_simulation(out, runs)
        failures = _run_all(runs, workers, watch)
        summary = write_report(runs)
    if failures:
        raise SimulationError(
            f"{len(failures)} of {len(runs)} runs failed; the first, {failures[0]}. What is done is kept: mend the "
            "cause, and give the same command again"
        )
    return summary


def unfinished(runs: list[Run]) -> list[Run]:
    """Runs whose last model is not measured yet."""
    return [run for run in runs if run.measured(run.config.cycles) is None]


def _run_all(runs: list[Run], workers: int, watch: GridWatch) -> list[str]:
    """Do what is left; returns a line for every run that failed."""
    failures: list[str] = []

    def ended(run: Run, error: BaseException | None) -> None:
        if error is None:
            write_report(runs)
        else:
            failures.append(_line(run, error))

    by_seed: dict[int, list[Run]] = {}
    for run in unfinished(runs):
        by_seed.setdefault(run.seed, []).append(run)
    if workers > 1 and by_seed:
        _side_by_side(by_seed, workers, watch, ended)
    else:
        _one_by_one(by_seed, watch, ended)
    return failures


def _one_by_one(by_seed: dict[int, list[Run]], watch: GridWatch, ended: Ended) -> None:
    """In this process, which may be a notebook's."""
    for seed, runs in by_seed.items():
        try:
            runs[0].begin(partial(watch, seed, START))
        except Exception as error:  # noqa: BLE001  whatever a detector raises: the other seeds go on
            for run in runs:
                ended(run, error)
            continue
        for run in runs:
            try:
                run.go(partial(watch, seed, run.strategy))
            except Exception as error:  # noqa: BLE001
                ended(run, error)
            else:
                ended(run, None)


def _side_by_side(by_seed: dict[int, list[Run]], workers: int, watch: GridWatch, ended: Ended) -> None:
    """In processes of their own, the start of a seed before its runs."""
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    manager = SyncManager(ctx=context)
    manager.start(end_with_parent, (os.getpid(),))
    with manager:
        events = manager.Queue()
        executor = ProcessPoolExecutor(workers, context, _begin, (events, os.getpid(), threads_of(workers)))
        starts = {executor.submit(_start, runs[0]): runs for runs in by_seed.values()}
        going: dict[Future[None], Run] = {}
        try:
            while starts or going:
                _tell(events, watch)
                for done in [future for future in starts if future.done()]:
                    runs = starts.pop(done)
                    if error := done.exception():
                        for run in runs:
                            ended(run, error)
                    else:
                        going |= {executor.submit(_go, run): run for run in runs}
                for done in [future for future in going if future.done()]:
                    ended(going.pop(done), done.exception())
            _tell(events, watch)
        finally:
            executor.shutdown(cancel_futures=True)  # after Ctrl-C nothing that waits is begun


def threads_of(workers: int) -> int:
    """Threads of each of so many processes: what OMP_NUM_THREADS says, else each one's share of the cores."""
    told = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # "4,2" tells it for loops in loops
    return max(1, int(told) if told.isdigit() else (os.cpu_count() or 1) // workers)


def _line(run: Run, error: BaseException) -> str:
    if isinstance(error, BrokenProcessPool):
        return f"{run.strategy} under seed {run.seed}: a process was killed, perhaps for memory; give fewer workers"
    return f"{run.strategy} under seed {run.seed}: {type(error).__name__}: {error}"


def _tell(events: Any, watch: GridWatch) -> None:
    """Pass on what happened within POLL_SECONDS."""
    try:
        while True:
            seed, strategy, stage, done, total, figures = events.get(timeout=POLL_SECONDS)
            watch(seed, strategy, stage, done, total, **figures)
    except queue.Empty:
        return


_events: Any = None


def _begin(events: Any, parent: int, threads: int) -> None:
    """Called first in every process."""
    global _events  # noqa: PLW0603  an initializer has no other way to hand something to its process
    _events = events
    end_with_parent(parent)
    # before torch is loaded: its threads spin while they wait
    os.environ |= {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)}
    import numba
    import torch

    numba.set_num_threads(threads)  # and as many as there are cores for torch: so torch is told after it
    torch.set_num_threads(threads)


def _report(run: Run, strategy: str, stage: str, done: int, total: int, **figures: float) -> None:
    _events.put((run.seed, strategy, stage, done, total, figures))


def _start(run: Run) -> None:
    run.begin(partial(_report, run, START))


def _go(run: Run) -> None:
    run.go(partial(_report, run, run.strategy))


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    try:
        with FileLock(out / ".lock", timeout=0):
            yield
    except Timeout:
        raise SimulationError(f"another process simulates in {out}: wait for it, or give another directory") from None


def _same_simulation(out: Path, runs: list[Run]) -> None:
    """Refuse to mix runs that cannot be compared."""
    first = runs[0]
    data = {"pool": first.pool.fingerprint(), "evaluation": first.evaluation.fingerprint()}
    _same(out / ABOUT, first.config.trainer() | data)
    for run in runs:
        run.folder.mkdir(parents=True, exist_ok=True)
        _same(run.folder / ABOUT, run.config.selector(run.strategy))


def _same(path: Path, about: dict[str, Any]) -> None:
    """Write what a directory is about, or see that it is still that."""
    about = json.loads(json.dumps(about))
    if not path.exists():
        write_file(path, json.dumps(about, indent=1).encode())
        return
    before = json.loads(path.read_text())
    for name, value in about.items():
        if before.get(name) != value:
            raise SimulationError(
                f"{path.parent} was made with {name} {json.dumps(before.get(name))}, not {json.dumps(value)}: give "
                "another directory, or delete this one"
            )

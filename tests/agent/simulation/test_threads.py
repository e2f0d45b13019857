"""Processes of a simulation share the cores: each keeps to the number of threads that it was given."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest

from agent.match_table import MatchTable
from agent.simulation.grid import _begin, threads_of
from bench.detection_data import VOC, make


def torch_threads_after_an_evaluation() -> int:
    import torch

    MatchTable.build(*make(replace(VOC, images=20), 0)).bootstrap(rng=0)
    return torch.get_num_threads()


def test_numba_does_not_change_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _begin, (None, os.getpid(), 1)) as executor:
        assert executor.submit(torch_threads_after_an_evaluation).result() == 1


def test_numba_keeps_to_what_openmp_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        assert executor.submit(torch_threads_after_an_evaluation).result() == 1


@pytest.mark.parametrize(
    ("told", "cores", "threads"),
    [(None, 8, 4), (None, 1, 1), ("1", 8, 1), ("3", 2, 3), ("2,1", 8, 2), ("", 8, 4), ("many", 8, 4), ("0", 8, 1)],
)
def test_a_process_has_its_share_of_the_cores_or_what_openmp_was_told(
    told: str | None, cores: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if told is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", told)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert threads_of(2) == threads


def test_on_a_machine_of_many_cores_a_process_keeps_to_what_openmp_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba refuses more threads than it was started with, which ended every process of the simulation."""
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    threads = threads_of(2)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin, (None, os.getpid(), threads)) as executor:
        assert executor.submit(torch_threads_after_an_evaluation).result() == 1

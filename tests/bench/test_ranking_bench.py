"""The benchmarks of the policy run from end to end on small data, and a program can read what they print."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from bench import precision, ranking, recurrence, reinforce


def test_ranking_prints_seconds_and_memory_of_each_size(capfd: pytest.CaptureFixture[str]) -> None:
    ranking.main(["--quick"])
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    for size in ("1e2", "1e3"):
        assert {f"{key}_{size}" for key in ("seconds", "describe_seconds", "rank_seconds", "peak_gb")} <= figures.keys()
    assert figures["growth_1e2_1e3"] == pytest.approx(figures["seconds_1e3"] / figures["seconds_1e2"])
    assert 0.05 < figures["peak_gb_1e3"] < 2
    assert all(np.isfinite(value) and value > 0 for value in figures.values())


def test_reinforce_prints_episodes_a_second_and_both_ratios(capfd: pytest.CaptureFixture[str]) -> None:
    reinforce.main(["--quick"])
    out = capfd.readouterr().out
    figures = json.loads(out.splitlines()[-1])
    assert figures.keys() >= {"episodes_per_second", "ratio_pycocotools", "ratio_retraining"}
    assert all(np.isfinite(value) for value in figures.values())
    assert figures["episodes_per_second"] > 0
    assert "extrapolated" in out


def test_precision_prints_seconds_of_both_types(capfd: pytest.CaptureFixture[str]) -> None:
    precision.main(["--quick"])
    seconds = json.loads(capfd.readouterr().out.splitlines()[-1])["64px"]
    assert seconds["ratio"] == pytest.approx(seconds["float32"] / seconds["bfloat16"])


def test_recurrence_prints_seconds_of_both(capfd: pytest.CaptureFixture[str]) -> None:
    recurrence.main()
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    for name in ("with_gradient", "scores_alone"):
        assert figures[f"{name}_ratio"] == pytest.approx(figures[f"{name}_plain"] / figures[f"{name}_unrolled"])


@pytest.mark.parametrize(("n", "wanted"), [(1000, "1e3"), (1_000_000, "1e6"), (1234, "1234"), (2000, "2000")])
def test_sizes_are_written_as_powers_of_ten(n: int, wanted: str) -> None:
    assert ranking.label(n) == wanted


def test_memory_is_that_of_the_program_and_not_of_who_started_it() -> None:
    ballast = np.ones(40_000_000)  # 0.3 GB
    command = [sys.executable, "-c", "from bench.ranking import peak_bytes; print(peak_bytes())"]
    alone = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert ranking.peak_bytes() > ballast.nbytes
    more = [np.ones(125_000_000) for _ in range(2)]  # and 2 GB for the second start
    beside = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert ranking.peak_bytes() > sum(block.nbytes for block in more)
    assert beside < alone + 2e8

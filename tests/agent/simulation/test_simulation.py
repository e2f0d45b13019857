"""A whole simulation on scenes: two strategies, one cycle, one seed, killed in the middle and taken up again."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from agent.inner_loop.planning import PlanConfig
from agent.simulation.config import SimulationConfig, SimulationError
from agent.simulation.grid import simulate
from agent.simulation.report import COLUMNS
from backend.commands.local import attempts
from model.data.dataset import Dataset
from model.detectors.base import FitConfig
from model.synthetic.scenes import write_scenes

OPTIONS = (
    "--strategies entropy,mgral-greedy --initial 20 --batch 4 --cycles 1 --seeds 0 --image-size 64 --steps 6 "
    "--hindsight 0 --workers 1 --time-budget 1e6 --base start"
)
CONFIG = SimulationConfig(
    ("entropy", "mgral-greedy"),
    20,
    4,
    1,
    (0,),
    fit=FitConfig(epochs=1, min_steps=6, batch=8, image_size=64),
    plan=PlanConfig(hindsight=0),
    seconds=1e6,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, 60, seed=3)
    return folder


@pytest.fixture(scope="module")
def scenes(data: Path) -> tuple[Dataset, Dataset]:
    return Dataset.from_coco(data / "annotations.json", data / "images").pool_and_evaluation()


def start(data: Path, out: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "backend.cli",
        "simulate",
        "--data",
        str(data),
        "--out",
        str(out),
        *OPTIONS.split(),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def resumed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, dict]:
    """(directory, state when it was killed, summary): `mgral simulate`, killed with -9 after its first choice, and
    taken up again."""
    out = tmp_path_factory.mktemp("out") / "curves"
    with start(data, out) as first:
        try:
            for _ in attempts(100):
                assert first.poll() is None, first.communicate()
                if list(out.glob("seed-0/*/0/chosen.json")):
                    break
        finally:
            first.send_signal(signal.SIGKILL)
    state = {path: path.stat().st_mtime_ns for path in out.glob("seed-0/*/*/measured.json")}
    state |= {path: path.stat().st_mtime_ns for path in out.glob("seed-0/start/measured.json")}
    pool_and_evaluation = Dataset.from_coco(data / "annotations.json", data / "images").pool_and_evaluation()
    return out, state, simulate(*pool_and_evaluation, CONFIG, out, 1, lambda *_, **__: None)


def results(out: Path) -> dict[tuple[str, int], dict[str, str]]:
    with (out / "results.csv").open() as file:
        return {(row["strategy"], int(row["cycle"])): row for row in csv.DictReader(file)}


@pytest.mark.timeout(200)
def test_a_killed_simulation_repeats_no_training(resumed: tuple[Path, dict, dict]) -> None:
    out, state, _ = resumed
    assert 1 <= len(state) < 3  # it was killed in the middle
    assert all(path.stat().st_mtime_ns == time for path, time in state.items())
    assert set(results(out)) == {(name, cycle) for name in ("entropy", "mgral-greedy") for cycle in range(2)}


@pytest.mark.timeout(200)
def test_it_ends_as_if_it_had_not_been_killed(
    resumed: tuple[Path, dict, dict], scenes: tuple[Dataset, Dataset], tmp_path: Path
) -> None:
    seen: list[tuple] = []
    simulate(*scenes, CONFIG, tmp_path / "curves", 2, lambda *now, **_: seen.append(now))
    whole, killed = results(tmp_path / "curves"), results(resumed[0])
    assert {key: (row["map"], row["chosen_by"], row["boxes"]) for key, row in whole.items()} == {
        key: (row["map"], row["chosen_by"], row["boxes"]) for key, row in killed.items()
    }
    assert {(now[1], now[3]) for now in seen if now[2] == "cycle"} == set(whole)  # every model was told of


def test_all_strategies_start_alike_and_learn_from_what_they_chose(resumed: tuple[Path, dict, dict]) -> None:
    out = resumed[0]
    rows = results(out)
    assert rows["entropy", 0]["map"] == rows["mgral-greedy", 0]["map"]
    for name in ("entropy", "mgral-greedy"):
        labeled = set(json.loads((out / "seed-0/start/measured.json").read_text())["labeled"])
        assert len(labeled) == 20
        chosen = json.loads((out / f"seed-0/{name}/0/chosen.json").read_text())["ids"]
        assert len(chosen) == 4
        assert not labeled & set(chosen)
        learned_from = json.loads((out / f"seed-0/{name}/1/measured.json").read_text())["labeled"]
        assert set(learned_from) == labeled | set(chosen)
    assert [int(rows["mgral-greedy", cycle]["labeled"]) for cycle in range(2)] == [20, 24]


def test_what_it_leaves(resumed: tuple[Path, dict, dict]) -> None:
    out, _, summary = resumed
    with (out / "results.csv").open() as file:
        assert tuple(next(csv.reader(file))) == COLUMNS
    assert json.loads((out / "summary.json").read_text()) == summary
    assert summary["seeds"] == [0]
    assert summary["labeled"] == [20, 24]
    assert len(summary["cycle"]["mgral-greedy"]["rho"]) == 1
    assert "<svg" in (out / "curves.svg").read_text()
    assert Image.open(out / "curves.png").width > 800
    sheet = np.asarray(Image.open(out / "gallery.jpg"))
    assert sheet.std() > 10  # pictures, not an empty page


@pytest.mark.timeout(200)
def test_more_strategies_and_cycles_are_added_to_what_is_there(
    resumed: tuple[Path, dict, dict], scenes: tuple[Dataset, Dataset]
) -> None:
    out = resumed[0]
    before = results(out)
    seen: list[tuple] = []
    more = replace(CONFIG, strategies=("entropy", "random"), cycles=2)
    simulate(*scenes, more, out, 1, lambda *now, **_: seen.append(now))
    after = results(out)
    assert set(after) == {(name, cycle) for name in ("entropy", "random") for cycle in range(3)}
    assert after["entropy", 0] == before["entropy", 0]
    for name in ("map", "map50", "boxes", "labeled"):  # of the last cycle before, which has a choice after it only now
        assert after["entropy", 1][name] == before["entropy", 1][name]
    trained = {(strategy, stage) for _, strategy, stage, *_ in seen if stage == "train"}
    assert trained == {("entropy", "train"), ("random", "train")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": 5}, "was made with batch 4, not 5"),
        ({"fit": FitConfig(epochs=1, min_steps=7, batch=8, image_size=64)}, "was made with fit"),
        ({"seconds": 5.0}, "was made with seconds 1000000.0, not 5.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    resumed: tuple[Path, dict, dict], scenes: tuple[Dataset, Dataset], change: dict, said: str
) -> None:
    with pytest.raises(SimulationError, match=said):
        simulate(*scenes, replace(CONFIG, **change), resumed[0], 1, lambda *_, **__: None)


def test_a_pool_that_is_too_small_is_refused(scenes: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="give fewer cycles or smaller batches"):
        simulate(*scenes, replace(CONFIG, batch=40), tmp_path, 1, lambda *_, **__: None)


def test_two_simulations_in_one_directory_are_refused(
    scenes: tuple[Dataset, Dataset], resumed: tuple[Path, dict, dict]
) -> None:
    with FileLock(resumed[0] / ".lock"), pytest.raises(SimulationError, match="another process simulates"):
        simulate(*scenes, CONFIG, resumed[0], 1, lambda *_, **__: None)


def test_a_run_that_fails_is_told_and_the_others_are_kept(scenes: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    pool, evaluation = scenes
    broken = replace(pool.images[0], path=tmp_path / "gone.jpg")
    with pytest.raises(SimulationError, match=r"2 of 2 runs failed.*gone\.jpg"):
        simulate(
            Dataset((broken, *pool.images[1:]), pool.names),
            evaluation,
            CONFIG,
            tmp_path / "out",
            1,
            lambda *_, **__: None,
        )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"strategies": ("magic",)}, "strategy 'magic' is not known; there are coreset"),
        ({"seeds": (1, 1)}, "seeds 1,1: give each once"),
        ({"cycles": 0}, "cycles 0: give at least 1"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(change: dict, said: str) -> None:
    with pytest.raises(SimulationError, match=said):
        replace(CONFIG, **change)

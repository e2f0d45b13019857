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
from agent.match_table import MatchTable
from agent.simulation.config import SimulationConfig, SimulationError
from agent.simulation.grid import simulate
from agent.simulation.report import COLUMNS
from agent.simulation.run import TABLE
from backend.commands.local import attempts
from model.data.dataset import Dataset
from model.detectors.base import FitConfig
from model.synthetic.scenes import write_scenes
from model.versions import VersionStore
from tests.model.made import TINY_YOLO, new

STRATEGIES = ("kmeanspp", "mgral-greedy")
OPTIONS = (
    "--strategies kmeanspp,mgral-greedy --initial 20 --batch 4 --cycles 1 --seeds 0 --image-size 64 --steps 6 "
    "--hindsight 0 --workers 1 --time-budget 1e6 --base start"
)
CONFIG = SimulationConfig(
    STRATEGIES,
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
def config(data: Path) -> SimulationConfig:
    """Of a detector that is tiny, and knows nothing."""
    (data / "tiny.yaml").write_text(TINY_YOLO)
    new(str(data / "tiny.yaml"), ("a", "b")).save(data / "tiny.pt")
    return replace(CONFIG, weights=str(data / "tiny.pt"))


NOTES = ("1 of 60 pictures is left out", "2 of 99 boxes were cut")


@pytest.fixture(scope="module")
def scenes(data: Path) -> tuple[Dataset, Dataset]:
    dataset = Dataset.from_coco(data / "annotations.json", data / "images")
    return replace(dataset, notes=NOTES).pool_and_evaluation()


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
        "--detector",
        str(data / "tiny.pt"),
        *OPTIONS.split(),
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def resumed(
    data: Path, scenes: tuple[Dataset, Dataset], config: SimulationConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict, dict]:
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
    return out, state, simulate(*scenes, config, out, 1, lambda *_, **__: None)


def found(out: Path) -> dict[str, str]:
    """Fingerprints of all that each model found in the evaluation images: they change with any score of any box."""
    return {str(path.relative_to(out)): MatchTable.load(path).fingerprint for path in out.rglob(TABLE)}


def results(out: Path) -> dict[tuple[str, int], dict[str, str]]:
    with (out / "results.csv").open() as file:
        return {(row["strategy"], int(row["cycle"])): row for row in csv.DictReader(file)}


@pytest.mark.timeout(200)
def test_a_killed_simulation_repeats_no_training(resumed: tuple[Path, dict, dict]) -> None:
    out, state, _ = resumed
    assert 1 <= len(state) < 3  # it was killed in the middle
    assert all(path.stat().st_mtime_ns == time for path, time in state.items())
    assert set(results(out)) == {(name, cycle) for name in STRATEGIES for cycle in range(2)}


@pytest.mark.timeout(200)
def test_it_ends_as_if_it_had_not_been_killed(
    resumed: tuple[Path, dict, dict], scenes: tuple[Dataset, Dataset], config: SimulationConfig, tmp_path: Path
) -> None:
    """Nor side by side instead of one by one."""
    seen: list[tuple] = []
    simulate(*scenes, config, tmp_path / "curves", 2, lambda *now, **_: seen.append(now))
    assert found(tmp_path / "curves") == found(resumed[0])
    assert len(set(found(resumed[0]).values())) == 3  # the start's, and one of each strategy
    whole, killed = results(tmp_path / "curves"), results(resumed[0])
    assert {key: (row["map"], row["chosen_by"], row["boxes"]) for key, row in whole.items()} == {
        key: (row["map"], row["chosen_by"], row["boxes"]) for key, row in killed.items()
    }
    assert {(now[1], now[3]) for now in seen if now[2] == "cycle"} == set(whole)  # every model was told of


def test_all_strategies_start_alike_and_learn_from_what_they_chose(resumed: tuple[Path, dict, dict]) -> None:
    out = resumed[0]
    rows = results(out)
    assert rows["kmeanspp", 0]["map"] == rows["mgral-greedy", 0]["map"]
    for name in STRATEGIES:
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
    assert summary["notes"] == list(NOTES)
    assert VersionStore(out / "seed-0/kmeanspp/versions").list()[-1].note.endswith("; ".join(NOTES))
    assert len(summary["cycle"]["mgral-greedy"]["rho"]) == 1
    assert "<svg" in (out / "curves.svg").read_text()
    assert Image.open(out / "curves.png").width > 800
    sheet = np.asarray(Image.open(out / "gallery.jpg"))
    assert sheet.std() > 10  # pictures, not an empty page


@pytest.mark.timeout(200)
def test_more_strategies_and_cycles_are_added_to_what_is_there(
    resumed: tuple[Path, dict, dict], scenes: tuple[Dataset, Dataset], config: SimulationConfig
) -> None:
    out = resumed[0]
    before = results(out)
    seen: list[tuple] = []
    more = replace(config, strategies=("kmeanspp", "random"), cycles=2)
    simulate(*scenes, more, out, 1, lambda *now, **_: seen.append(now))
    after = results(out)
    assert set(after) == {(name, cycle) for name in ("kmeanspp", "random") for cycle in range(3)}
    assert after["kmeanspp", 0] == before["kmeanspp", 0]
    for name in ("map", "map50", "boxes", "labeled"):  # of the last cycle before, which has a choice after it only now
        assert after["kmeanspp", 1][name] == before["kmeanspp", 1][name]
    trained = {(strategy, stage) for _, strategy, stage, *_ in seen if stage == "train"}
    assert trained == {("kmeanspp", "train"), ("random", "train")}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"batch": 5}, "was made with batch 4, not 5"),
        ({"fit": FitConfig(epochs=1, min_steps=7, batch=8, image_size=64)}, "was made with fit"),
        ({"seconds": 5.0}, "was made with seconds 1000000.0, not 5.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    resumed: tuple[Path, dict, dict],
    scenes: tuple[Dataset, Dataset],
    config: SimulationConfig,
    change: dict,
    said: str,
) -> None:
    with pytest.raises(SimulationError, match=said):
        simulate(*scenes, replace(config, **change), resumed[0], 1, lambda *_, **__: None)


def test_a_pool_that_is_too_small_is_refused(scenes: tuple[Dataset, Dataset], tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="give fewer cycles or smaller batches"):
        simulate(*scenes, replace(CONFIG, batch=40), tmp_path, 1, lambda *_, **__: None)


def test_two_simulations_in_one_directory_are_refused(
    scenes: tuple[Dataset, Dataset], resumed: tuple[Path, dict, dict], config: SimulationConfig
) -> None:
    with FileLock(resumed[0] / ".lock"), pytest.raises(SimulationError, match="another process simulates"):
        simulate(*scenes, config, resumed[0], 1, lambda *_, **__: None)


def test_a_run_that_fails_is_told_and_the_others_are_kept(
    scenes: tuple[Dataset, Dataset], config: SimulationConfig, tmp_path: Path
) -> None:
    pool, evaluation = scenes
    broken = replace(pool.images[0], path=tmp_path / "gone.jpg")
    with pytest.raises(SimulationError, match=r"2 of 2 runs failed.*gone\.jpg"):
        simulate(
            Dataset((broken, *pool.images[1:]), pool.names),
            evaluation,
            config,
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

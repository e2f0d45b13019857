"""`mgral simulate` at a prompt: what it refuses, what it shows."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent.simulation.config import SimulationConfig
from agent.simulation.protocols import PROTOCOLS
from backend.cli import main
from backend.commands.simulation_view import View, verdict
from model.data.dataset import Dataset
from model.detectors.torchvision_architectures import ARCHITECTURES
from model.synthetic.scenes import write_scenes
from tests.model import tiny  # noqa: F401  the tiny architectures exist from here on
from tests.model.data.exported import label_studio_yolo
from tests.model.written import coco_2017, voc_devkit, yolo


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, 20, seed=3)
    return folder


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--strategies magic", "strategy 'magic' is not known; there are coreset"),
        ("--seeds a,b", "--seeds 'a,b': give whole numbers, as in 0,1,2"),
        ("--initial 10 --batch 10", "give fewer cycles or smaller batches"),
        ("--image-size 100", "image_size 100: must be a multiple of 32"),
        ("--seconds-a-box 0", "0.0 seconds a box: give a number above 0"),
        ("--detector nothing.pt", "weights 'nothing.pt': no such file"),
        ("--through-label-studio --strategies mgral-greedy", "mgral-greedy is no strategy of the product"),
    ],
)
def test_what_cannot_be_run_is_one_line(data: Path, tmp_path: Path, options: str, said: str) -> None:
    command = ["simulate", "--data", str(data), "--out", str(tmp_path / "out"), "--initial", "2", "--batch", "1"]
    result = CliRunner().invoke(main, [*command, *options.split()])
    assert result.exit_code == 1
    assert said in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    "command", ["simulate --initial 100 --batch 1", "fidelity --initial 100 --batch 1"], ids=["simulate", "fidelity"]
)
def test_what_the_data_hold_and_what_was_mended_is_said_at_the_start(command: str, tmp_path: Path) -> None:
    labels = label_studio_yolo(tmp_path / "data") / "labels"
    (labels / "p01.txt").write_text("1 .1 .5 .4 .5\n")
    (labels / "p04.txt").unlink()
    arguments = [*command.split(), "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1  # the pool is too small
    assert "data: 9 images, 1 of them without an object; 15 boxes of 3 classes" in result.output
    assert re.search(r"note: .*1 of 10 images have no label file and are left out; .*p04\.png", result.output)
    assert re.search(r"note: .*1 of 15 boxes reached beyond the picture and were cut at its edge", result.output)


def test_a_directory_that_holds_no_data_set_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["simulate", "--data", str(tmp_path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert str(tmp_path) in result.output
    assert "annotations.json" in result.output


def test_a_protocol_gives_the_sizes_and_options_go_before(data: Path, tmp_path: Path) -> None:
    """The whole pool is too small for it, and that is said with the protocol's own numbers."""
    command = ["simulate", "--data", str(data), "--out", str(tmp_path / "out"), "--protocol", "voc-retinanet"]
    result = CliRunner().invoke(main, command)
    assert "827 images and 6 batches of 413" in result.output
    assert "is defined on a pool of 16551 images" in result.output
    result = CliRunner().invoke(main, [*command, "--initial", "800"])
    assert "800 images and 6 batches of 413" in result.output


def test_protocols_end_at_the_share_of_the_pool_that_was_published() -> None:
    shares = {"voc-retinanet": 0.2, "voc-ssd": 10_000 / 16_551, "coco-retinanet": 0.1}
    for name, protocol in PROTOCOLS.items():
        labeled = protocol.initial + protocol.cycles * protocol.batch
        assert labeled / protocol.pool == pytest.approx(shares[name], rel=0.01)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("protocol", "writer"), [("voc-retinanet", voc_devkit), ("voc-ssd", yolo), ("coco-retinanet", coco_2017)]
)
def test_a_protocol_runs_on_a_stand_in_of_its_format(
    protocol: str, writer: Callable[[Path, Dataset], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own directory format and a tiny network of its detector's family; six pictures, a training of one update."""
    for name in ("retinanet", "ssd"):  # test_torchvision has those of their real size
        architecture = ARCHITECTURES[f"tiny-{name}"]
        monkeypatch.setitem(ARCHITECTURES, name, replace(architecture, imagenet=ARCHITECTURES[name].imagenet))
    six = write_scenes(tmp_path / "scenes", 6, seed=3)
    data = writer(tmp_path / "data", six)
    small = {"initial": 2, "batch": 1, "cycles": 1, "epochs": 1, "steps": 1, "train-batch": 2, "image-size": 64}
    small |= {"seeds": 0, "workers": 1}
    command = ["simulate", "--data", str(data), "--out", str(tmp_path / "out"), "--protocol", protocol]
    command += ["--strategies", "coreset", *(f"--{name}={value}" for name, value in small.items())]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout.splitlines()[-1])
    assert summary["labeled"] == [2, 3]
    about = json.loads((tmp_path / "out" / "simulation.json").read_text())
    assert about["weights"] == PROTOCOLS[protocol].detector
    assert about["base"] == "start"


@pytest.mark.parametrize(
    ("options", "base", "first_steps"),
    [
        ("", "newest", 30),
        ("--first-steps 7", "newest", 7),
        ("--base start", "start", 0),
        ("--base serving", "serving", 0),
    ],
)
def test_trainings_go_on_unless_told_otherwise(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, base: str, first_steps: int
) -> None:
    """What the options come to; nothing is trained."""
    asked: list[SimulationConfig] = []

    def simulate(_pool: Dataset, _evaluation: Dataset, config: SimulationConfig, *_: object) -> dict:
        asked.append(config)
        raise ValueError("enough")

    monkeypatch.setattr("agent.simulation.grid.simulate", simulate)
    CliRunner().invoke(
        main, ["simulate", "--data", str(data), "--out", str(tmp_path / "out"), "--steps", "10", *options.split()]
    )
    assert (asked[0].base, asked[0].first_steps) == (base, first_steps)


def test_the_view_shows_maps_and_how_long_it_takes(capsys: pytest.CaptureFixture) -> None:
    config = SimulationConfig(("random", "mgral"), 4, 2, 1, (0, 1))
    with View(config) as view:
        view(0, "start", "train", 1, 10, loss=0.5)
        view.console.print(view._draw())
        for seed, score in ((0, 0.2), (1, 0.4)):
            view(seed, "random", "cycle", 0, 1, map=score)
        view(0, "mgral", "variants", 1, 5)
        view.console.print(view._draw())
    shown = capsys.readouterr().err
    assert "[1/8] random, seed 0: 4 labeled images, mAP 0.2000" in shown
    assert "[2/8" in shown
    assert "0.300 (2)" in shown  # the mean of the seeds that are done
    assert "mgral, seed 0: variants 1/5" in shown
    assert shown.count("start, seed 0: train 1/10 loss 0.500") == 1  # and no more once it is done


def test_the_sentence_says_when_the_target_is_not_reached() -> None:
    about = {"map": [0.1, 0.2], "area_over_random": 0.9, "area_over_random_interval": [0.8, 1.1]}
    summary = {"labeled": [4, 6], "seeds": [0], "strategies": {"mgral": about | {"labels_for_final_of_random": None}}}
    assert "does not reach random's final mAP" in verdict(summary)
    summary["strategies"]["mgral"]["labels_for_final_of_random"] = 0.75  # type: ignore[index]
    assert "75% of random's labels" in verdict(summary)

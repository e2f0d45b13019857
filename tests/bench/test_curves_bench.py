"""The benchmark of the curves and what is read off it run from end to end, on a few scenes and some updates."""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from agent.policy.policy import greedy
from bench import choosers, curves, expected_boxes, oracle, what_helps
from model.data.detections import Detections

STRATEGIES = "random,weakness,entropy"


@pytest.mark.timeout(200)
def test_curves_and_what_is_read_off_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {
        "SETS": {"scenes": curves.Sizes(12, 6)},
        "SCENES": 50,
        "SCENES_POOL": 30,
        "CYCLES": 1,
        "IMAGE_SIZE": 64,
        "FIRST_UPDATES": 40,
        "UPDATES": 8,
    }
    for name, value in small.items():
        monkeypatch.setattr(curves, name, value)
    monkeypatch.setattr(curves, "write_scenes", cache(curves.write_scenes))  # the same ones for each command
    monkeypatch.setattr(what_helps, "FEWEST", 3)
    monkeypatch.setattr(choosers, "ReinforceConfig", partial(choosers.ReinforceConfig, updates=60))
    options = ["--out", str(tmp_path), "--sets", "scenes", "--seeds", "0"]

    def told() -> dict:
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    curves.main([*options, "--strategies", STRATEGIES, "--workers", "1"])
    figures = told()
    assert list(figures["sets"]["scenes"]["strategies"]) == STRATEGIES.split(",")
    assert figures["sets"]["scenes"]["labeled"] == [12, 18]
    assert figures["area_over_random"].keys() == {"weakness", "entropy"}
    what_helps.main(options)
    helped = told()["scenes"]
    laws = {f"{law}, {kind}" for law in ("all", "rare", "odds") for kind in ("true", "expected")}
    laws |= {f"new {reach:g}, true" for reach in what_helps.REACHES} | {"new, expected", "new, content"}
    assert helped.keys() == {*laws, "coverage", "entropy", "gamma"}
    assert all(-1 <= value <= 1 for name, value in helped.items() if name != "gamma")
    assert np.isfinite(helped["gamma"])
    expected_boxes.main(options)
    found = told()
    assert found.keys() == {"scenes, seed 0, cycle 0", "scenes, seed 0, cycle 1"}
    assert all(-1 <= on["total"] <= 1 for ways in found.values() for on in ways.values())
    assert all(on["worth"] < 1.1 for ways in found.values() for on in ways.values())
    choosers.main(options)
    chosen = told()["scenes, seed 0"]
    assert chosen["greedy"]["shared"] == 1
    assert chosen["policy"]["value"] > 0.9
    oracle.main(options)
    known = told()["scenes"]["strategies"]
    assert known.keys() == {"random", *oracle.ORACLES}
    batch = json.loads((tmp_path / "scenes/seed-0/oracle-boxes/0/chosen.json").read_text())["ids"]
    pool, _ = curves.data_of("scenes", tmp_path)
    first = set(json.loads((tmp_path / "scenes/seed-0/start/measured.json").read_text())["labeled"])
    boxes = {image.id: len(image.class_ids) for image in pool.images if image.id not in first}
    assert sorted(boxes[k] for k in batch) == sorted(boxes.values())[-6:]


def test_an_oracle_without_curves_says_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "SCENES", 8)
    monkeypatch.setattr(curves, "SCENES_POOL", 4)
    with pytest.raises(SystemExit, match=r"run bench\.curves"):
        oracle.main(["--out", str(tmp_path), "--sets", "scenes", "--seeds", "0"])


def test_the_law_prefers_what_is_not_learned_yet() -> None:
    boxes = np.array([[5.0, 0.0], [4.0, 0.0], [0.0, 3.0]])
    rows = greedy(oracle.Law(np.array([1.0, 1.0]), np.array([0.9, 0.9])), boxes, 2)
    assert rows.tolist() == [0, 2]  # after five boxes of a class that is learned, three of the other say more than four


def test_agreement_by_hand() -> None:
    truth = np.array([[0, 0], [1, 0], [2, 0]])

    def found(*scores: float) -> Detections:
        columns = np.array([[score, 0.0] for score in scores], np.float32).reshape(-1, 2)
        boxes = np.tile(np.array([0, 0, 9, 9], np.float32), (len(scores), 1))
        return Detections(boxes, columns[:, 0], np.zeros(len(scores), np.int64), columns, (10, 10))

    pictures = [found(0.2, 0.2, 0.2), found(0.4), found(0.4, 0.3)]
    assert expected_boxes.agreement(expected_boxes.expected_boxes(pictures, 0.25), truth) == pytest.approx((1.0, 1.0))
    assert expected_boxes.agreement(expected_boxes.expected_boxes(pictures, 0.05), truth) == pytest.approx((0.5, 0.5))
    # the boxes of a picture lie on one another: only the surest counts
    assert expected_boxes.one_a_place(pictures)[:, 0] == pytest.approx([0.2, 0.4, 0.4])


def test_worth_is_one_by_the_true_boxes_and_none_by_chance() -> None:
    rng = np.random.default_rng(3)
    truth = rng.poisson(2.0, (200, 3)).astype(float)
    law = oracle.Law(np.array([5.0, 5.0, 5.0]), np.array([0.1, 0.1, 0.1]))
    assert expected_boxes.worth(truth, truth, law, 20) == pytest.approx(1.0)
    assert expected_boxes.worth(truth.max() - truth, truth, law, 20) < -0.5
    blind = [expected_boxes.worth(rng.random((200, 3)), truth, law, 20) for _ in range(20)]
    assert np.mean(blind) == pytest.approx(0.0, abs=0.1)


def test_a_labeled_directory_is_a_set_too(tmp_path: Path) -> None:
    assert curves.directory_of("some/where", tmp_path) == Path("some/where")
    assert curves.directory_of("cards", tmp_path) == curves.SHARED / "cards"
    config = curves.config_of("some/where", ("random",), (0,))
    assert (config.initial, config.batch) == (24, 24)

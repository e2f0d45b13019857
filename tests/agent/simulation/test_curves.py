"""The figures of curves against numbers worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent.costs import LabelingCosts
from agent.match_table import MatchTable
from agent.simulation.curves import Curves, area, interval, labels_needed, resample
from agent.simulation.figures import draw_curves
from agent.simulation.report import summarise
from backend.commands.simulation_view import verdict

X = np.array([10, 20, 40])


def curves(names: tuple[str, ...], maps: np.ndarray, boxes: np.ndarray | None = None, spread: float = 0.0) -> Curves:
    """`spread` is how far resamples lie from the measured maps, the same for all strategies."""
    noise = (
        np.random.default_rng(0).normal(0, spread, (200, 1, maps.shape[1], 1)) if spread else np.zeros((200, 1, 1, 1))
    )
    boxes = np.broadcast_to(X * 3.0, maps.shape) if boxes is None else boxes
    return Curves(names, X, boxes, maps, maps + noise)


def test_area_is_the_mean_height_by_trapezoids() -> None:
    # (10 * (.1 + .2) / 2 + 20 * (.2 + .4) / 2) / 30
    assert area(X, np.array([0.1, 0.2, 0.4])) == pytest.approx((1.5 + 6.0) / 30)
    assert area(X, np.full((2, 5, 3), 0.3)) == pytest.approx(np.full((2, 5), 0.3))


@pytest.mark.parametrize(
    ("y", "target", "needed"),
    [
        ([0.1, 0.2, 0.4], 0.3, 30.0),
        ([0.1, 0.2, 0.4], 0.4, 40.0),
        ([0.1, 0.2, 0.4], 0.05, 10.0),
        ([0.1, 0.3, 0.2], 0.2, 15.0),  # where it is reached first, though it is lost again
        ([0.1, 0.2, 0.4], 0.41, float("inf")),
    ],
)
def test_labels_needed_is_where_the_curve_first_reaches_the_target(y: list, target: float, needed: float) -> None:
    assert labels_needed(X, np.array(y), target) == pytest.approx(needed)


def test_area_by_minutes_counts_images_and_boxes() -> None:
    """At 30 s an image and 60 s a box: (10, 20, 40) images of (2, 4, 8) boxes take 7, 14 and 28 minutes, with twice the
    boxes 9, 18 and 36. At the common minutes 9 to 28, straight lines of 0.1 at 7 (9) to 0.4 at 28 (36)."""
    maps = np.array([[[0.1, 0.2, 0.4]]] * 2)
    boxes = np.array([[[2.0, 4.0, 8.0]], [[4.0, 8.0, 16.0]]])
    both = replace(curves(("random", "mgral"), maps, boxes), costs=LabelingCosts(30, 60))
    np.testing.assert_allclose(both.minutes[:, 0], [[7, 14, 28], [9, 18, 36]])
    first, second = both.area_by(both.minutes)
    at = {9: 0.1 + 0.1 * 2 / 7, 14: 0.2, 28: 0.4}  # random
    assert first == pytest.approx((5 * (at[9] + at[14]) / 2 + 14 * (at[14] + at[28]) / 2) / 19, abs=1e-3)
    there = 0.2 + 0.2 * 10 / 18  # mgral at 28 minutes
    assert second == pytest.approx((9 * (0.1 + 0.2) / 2 + 10 * (0.2 + there) / 2) / 19, abs=1e-3)
    told = summarise(both)
    assert told["strategies"]["mgral"]["area_by_minutes_over_random"] == pytest.approx(second / first, abs=1e-4)
    assert (told["seconds_an_image"], told["seconds_a_box"]) == (30, 60)


def test_area_by_boxes_goes_as_far_as_all_strategies_do() -> None:
    maps = np.array([[[0.0, 0.2, 0.4]], [[0.0, 0.2, 0.4]]])
    boxes = np.array([[[10.0, 20.0, 30.0]], [[10.0, 30.0, 50.0]]])  # the second draws twice as many boxes for the same
    first, second = curves(("random", "mgral"), maps, boxes).area_by(boxes)
    assert first == pytest.approx(0.2, abs=1e-3)
    assert second == pytest.approx(0.1, abs=1e-3)


def test_a_planted_saving_is_reported() -> None:
    """mgral is at each point where random is at the next one: it needs half of the labels of (10, 20, 40)."""
    maps = np.array([[[0.1, 0.2, 0.3]] * 3, [[0.1, 0.3, 0.4]] * 3, [[0.1, 0.25, 0.3]] * 3])
    told = summarise(curves(("random", "mgral", "entropy"), maps, spread=0.01))
    mine = told["strategies"]["mgral"]
    assert told["best_baseline"] == "entropy"
    assert mine["labels_for_final_of_random"] == pytest.approx(0.5)
    assert mine["area_over_random"] == pytest.approx(float(area(X, maps[1, 0]) / area(X, maps[0, 0])), abs=1e-4)
    low, high = mine["area_over_random_interval"]
    assert 1.0 < low < mine["area_over_random"] < high
    assert mine["better_than_random"] == 1.0
    assert mine["better_than_best_baseline"] == 1.0


def test_what_all_strategies_share_is_no_uncertainty_of_their_difference() -> None:
    """Seeds that differ much, and the same strategy twice: nothing speaks for either."""
    rng = np.random.default_rng(1)
    one = rng.uniform(0.1, 0.5, (1, 3, 3))
    told = summarise(curves(("random", "mgral"), np.concatenate([one, one]), spread=0.05))["strategies"]["mgral"]
    assert told["area_over_random_interval"] == [1.0, 1.0]
    assert told["better_than_random"] == 0.0


NOTHING, SOMETHING = [[0.0, 0.0, 0.0]] * 2, [[0.1, 0.2, 0.3]] * 2


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("random", "other"), [(NOTHING, NOTHING), (NOTHING, SOMETHING), (SOMETHING, NOTHING)])
def test_an_area_of_0_is_told_and_drawn(random: list, other: list, tmp_path: Path) -> None:
    measured = curves(("random", "entropy", "mgral"), np.array([random, other, other]))
    summary = json.loads(json.dumps(summarise(measured) | {"seeds": [0]}))
    draw_curves(measured, summary, tmp_path)
    assert (tmp_path / "curves.svg").exists()
    about = summary["strategies"]["mgral"]
    if random is NOTHING:
        assert about["area_over_random"] is None
        assert about.get("labels_for_final_of_random") is None
        assert "random found nothing (its area is 0), so there is nothing to compare with" in verdict(summary)
    else:
        assert about["area_over_random"] == 0
        assert "mgral: final mAP 0.000, area 0.000 of random's [0.0, 0.0], does not reach" in verdict(summary)


def test_images_without_boxes_after_the_start_have_no_area_by_boxes() -> None:
    flat = np.broadcast_to(12.0, (1, 1, 3))
    assert np.isnan(curves(("random",), np.array([[[0.1, 0.2, 0.3]]]), flat).area_by(flat)).all()


def test_an_ablation_is_measured_beside_mgral() -> None:
    """A part that costs a tenth of the area at every point, on the same seeds and images."""
    maps = np.array([[[0.1, 0.2, 0.3]], [[0.2, 0.4, 0.5]], [[0.18, 0.36, 0.45]]])
    told = summarise(curves(("random", "mgral", "mgral-greedy"), maps, spread=0.01))["strategies"]
    assert told["mgral-greedy"]["area_over_mgral"] == pytest.approx(0.9)
    low, high = told["mgral-greedy"]["area_over_mgral_interval"]
    assert low < 0.9 < high
    assert told["mgral-greedy"]["better_than_mgral"] == 0.0
    assert "area_over_mgral" not in told["mgral"]
    assert "area_over_mgral" not in told["random"]


def test_a_strategy_that_never_gets_there_says_so() -> None:
    maps = np.array([[[0.1, 0.2, 0.4]], [[0.1, 0.15, 0.2]]])
    told = summarise(curves(("random", "mgral"), maps))["strategies"]["mgral"]
    assert told["labels_for_final_of_random"] is None
    assert told["labels_for_final_of_random_interval"] == [None, None]
    assert told["area_std"] is None  # one seed has no spread


def test_random_that_finds_nothing_is_no_division_by_zero() -> None:
    maps = np.array([[[0.0, 0.0, 0.0]], [[0.0, 0.1, 0.2]]])
    told = summarise(curves(("random", "mgral"), maps))["strategies"]["mgral"]
    assert told["area_over_random"] is None
    assert told["area_over_random_interval"] == [None, None]


def test_resampling_draws_the_same_images_for_every_table() -> None:
    rng = np.random.default_rng(4)
    boxes = [{"image_id": k, "category_id": 1, "bbox": [10.0, 10.0, 20.0, 20.0]} for k in range(30)]
    truth = {
        "images": [{"id": k, "width": 64, "height": 64} for k in range(30)],
        "annotations": [box | {"id": k + 1, "area": 400.0, "iscrowd": 0} for k, box in enumerate(boxes)],
        "categories": [{"id": 1, "name": "thing"}],
    }
    moved = [[10.0, 10.0, 20.0, float(rng.uniform(8, 20))] for _ in boxes]
    found = [box | {"bbox": at, "score": float(rng.uniform())} for box, at in zip(boxes, moved, strict=True)]
    table = MatchTable.build(truth, found)
    drawn = resample([table, table], 50)
    assert drawn.shape == (50, 2)
    np.testing.assert_array_equal(drawn[:, 0], drawn[:, 1])
    assert np.std(drawn[:, 0]) > 0
    bootstrap = table.bootstrap(1000, rng=1).map
    assert resample([table], 1000).std() == pytest.approx(bootstrap.error, rel=0.2)


def test_an_interval_may_have_no_end() -> None:
    assert interval(np.array([0.5] * 90 + [np.inf] * 10)) == (0.5, np.inf)

"""Bootstrap and paired difference: formulas, determinism, and decisions with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from agent.match.scores import Estimate
from agent.match_table import MatchTable

IMAGES = 120


def truth() -> dict:
    return {
        "images": [{"id": i} for i in range(IMAGES)],
        "annotations": [
            {"id": 3 * i + k + 1, "image_id": i, "category_id": k % 2 + 1, "bbox": [30 * k, 0, 20, 20], "area": 400}
            for i in range(IMAGES)
            for k in range(3)
        ],
        "categories": [{"id": c, "name": f"class {c}"} for c in (1, 2, 3)],
    }


def detector(noise: float, seed: int = 0) -> list[dict]:
    """Boxes displaced by `noise` pixels, and a false alarm an image."""
    rng = np.random.default_rng(seed)
    detections = []
    for i in range(IMAGES):
        for k in range(4):
            box = [30 * k + rng.normal() * noise, rng.normal() * noise, 20, 20]
            detections.append({"image_id": i, "category_id": k % 2 + 1, "bbox": box, "score": rng.random()})
    return detections


def test_resamples_are_weighted_queries() -> None:
    table = MatchTable.build(truth(), detector(2))
    ids = list(range(0, IMAGES, 3))
    resamples = np.random.default_rng(7).integers(0, len(ids), (30, len(ids)))
    counts = np.stack([np.bincount(row, minlength=len(ids)) for row in resamples])
    expected = table.evaluate_many(counts, ids)
    result = table.bootstrap(30, rng=7, image_ids=ids)
    assert np.array_equal(result.samples.ap, expected.ap)
    assert result.map.value == table.evaluate(ids).map
    assert result.map.error == pytest.approx(np.std(expected.map, ddof=1))
    centred = expected.map - expected.map.mean() + result.map.value
    assert (result.map.low, result.map.high) == pytest.approx(tuple(np.quantile(centred, [0.025, 0.975])))
    assert result.per_class[2].error == pytest.approx(np.std(expected.ap[:, 1], ddof=1))
    assert result.per_class[3].value == -1.0
    assert np.isnan(result.per_class[3].error)


def test_the_bootstrap_error_is_the_spread_over_fresh_samples() -> None:
    """The standard error of one sample's bootstrap against the real spread of the figure over many samples."""
    spread = np.std([MatchTable.build(truth(), detector(2, seed)).evaluate().map for seed in range(40)], ddof=1)
    error = np.mean([MatchTable.build(truth(), detector(2, seed)).bootstrap(200, rng=0).map.error for seed in range(5)])
    assert 0.6 < error / spread < 1.6


def test_one_seed_one_answer_and_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    table = MatchTable.build(truth(), detector(2))
    first = table.bootstrap(50, rng=3)
    monkeypatch.setattr("numba.get_num_threads", lambda: 3)
    again = table.bootstrap(50, rng=3)
    assert np.array_equal(first.samples.map, again.samples.map)
    assert not np.array_equal(first.samples.map, table.bootstrap(50, rng=4).samples.map)


def test_a_much_better_detector_is_better_and_never_the_other_way_round() -> None:
    good, bad = MatchTable.build(truth(), detector(1)), MatchTable.build(truth(), detector(4))
    delta = good.delta(bad, 200, rng=0)
    assert delta.map.value == pytest.approx(good.evaluate().map - bad.evaluate().map)
    assert delta.better
    assert not delta.worse
    assert str(delta).endswith("at 95%: better")
    difference = good.bootstrap(200, rng=0).samples.map - bad.bootstrap(200, rng=0).samples.map
    assert (delta.map.low, delta.map.high) == pytest.approx(tuple(np.quantile(difference, [0.025, 0.975])))
    assert not bad.delta(good, rng=0).better
    assert bad.delta(good, 200, rng=0).worse
    assert delta.per_class[1].value == pytest.approx(good.evaluate().per_class[1] - bad.evaluate().per_class[1])


def test_the_same_detector_is_undecided() -> None:
    table = MatchTable.build(truth(), detector(2))
    delta = table.delta(table, 50, rng=0)
    assert delta.map == Estimate(0.0, 0.0, 0.0, 0.0)
    assert str(delta).endswith("undecided")
    assert not delta.better
    assert not delta.worse


def test_pairing_shrinks_the_error() -> None:
    """Two detectors that err on the same images: their difference is known better than either figure."""
    detections = detector(2)
    slightly = [d | {"bbox": [d["bbox"][0] + 0.3, *d["bbox"][1:]]} for d in detections]
    one, two = MatchTable.build(truth(), detections), MatchTable.build(truth(), slightly)
    paired = one.delta(two, 200, rng=0).map.error
    apart = np.hypot(one.bootstrap(200, rng=1).map.error, two.bootstrap(200, rng=2).map.error)
    assert paired < 0.6 * apart


def test_other_ground_truth_is_refused() -> None:
    changed = truth()
    changed["annotations"].pop()
    with pytest.raises(ValueError, match="different ground truth"):
        MatchTable.build(truth(), detector(1)).delta(MatchTable.build(changed, detector(1)))


def test_nothing_to_resample_is_refused() -> None:
    table = MatchTable.build(truth(), detector(1))
    with pytest.raises(ValueError, match="1000 resamples of 0 images"):
        table.bootstrap(image_ids=[])
    with pytest.raises(ValueError, match="1 resamples of 120 images"):
        table.bootstrap(1)

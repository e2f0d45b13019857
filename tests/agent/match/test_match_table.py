"""The match table against pycocotools on real data, and what its methods promise."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agent.match.scores import Scores
from agent.match_table import MatchTable
from model.data.dataset import Dataset, LabeledImage
from model.data.detections import Detections
from model.evaluate import evaluate
from tests.agent.match.coco_reference import Reference
from tests.shared import SHARED, needs_shared

CASES = ("A_coco_val2014_fakebbox100", "C_voc2012_100_yolo_dets")


def load(case: str) -> tuple[dict, list[dict], dict]:
    folder = SHARED / "data" / "map_reference" / case
    names = ("gt.json", "detections.json", "expected.json")
    truth, detections, expected = (json.loads((folder / name).read_text()) for name in names)
    return truth, detections, expected


def assert_equal(scores: Scores, expected: tuple[float, float, float, list[float]]) -> None:
    assert [scores.map, scores.map50, scores.map75] == pytest.approx(expected[:3], abs=1e-14)
    assert list(scores.per_class.values()) == pytest.approx(expected[3], abs=1e-14)


def small(scores: list[float] | None = None) -> tuple[dict, list[dict]]:
    """Ten objects of one category, one an image; one detection each, exact where its score is given."""
    scores = [0.9] * 10 if scores is None else scores
    truth = {
        "images": [{"id": 5 * k + 3} for k in range(10)],
        "annotations": [
            {"id": k + 1, "image_id": 5 * k + 3, "category_id": 7, "bbox": [0, 0, 10, 10], "area": 100, "iscrowd": 0}
            for k in range(10)
        ],
        "categories": [{"id": 7, "name": "stop sign"}, {"id": 9, "name": "yield"}],
    }
    detections = [
        {"image_id": 5 * k + 3, "category_id": 7, "bbox": [0, 0, 10, 10], "score": s} for k, s in enumerate(scores)
    ]
    return truth, detections


@needs_shared
@pytest.mark.parametrize("case", CASES)
def test_real_data_in_full(case: str) -> None:
    truth, detections, expected = load(case)
    table = MatchTable.build(truth, detections)
    published = expected.get("published_faster_coco_eval") or expected["pycocotools"]
    scores = table.evaluate()
    assert [scores.map, scores.map50, scores.map75] == pytest.approx(
        [published["AP"], published["AP50"], published["AP75"]], abs=1e-14
    )
    assert_equal(scores, Reference(truth, detections).scores(table.image_ids.tolist()))


@needs_shared
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("max_dets", [1, 5, 100])
def test_real_data_on_random_subsets(case: str, max_dets: int) -> None:
    truth, detections, _ = load(case)
    table, reference = MatchTable.build(truth, detections, max_dets), Reference(truth, detections, max_dets)
    rng = np.random.default_rng(max_dets)
    subsets = [rng.choice(table.image_ids, size, replace=False) for size in (1, 2, 3, 5, 10, 20, 40, 80, 99)]
    for subset, together in zip(subsets, table.evaluate_many(subsets), strict=True):
        expected = reference.scores(subset.tolist())
        assert_equal(table.evaluate(subset.tolist()), expected)
        assert_equal(together, expected)


def test_seven_of_ten_do_not_reach_recall_point_seven() -> None:
    truth, detections = small()
    detections = detections[:7]
    detections.append(
        {"image_id": 3, "category_id": 7, "bbox": [50, 50, 9, 9], "score": 0.5}
    )  # a false alarm at the end
    scores = MatchTable.build(truth, detections).evaluate()
    # Thresholds 0 to .69 are reached at precision 1; linspace's 0.7000000000000001 is not.
    assert scores.map50 == pytest.approx(70 / 101, abs=1e-14)
    for weight in (1, 3, 0.5):
        assert MatchTable.build(truth, detections).evaluate(weights=[weight] * 10).map50 == pytest.approx(
            70 / 101, abs=1e-14
        )
    assert_equal(scores, Reference(truth, detections).scores(range(3, 53, 5)))


def test_categories_without_ground_truth_are_minus_one() -> None:
    truth, detections = small()
    scores = MatchTable.build(truth, detections).evaluate()
    assert scores.per_class == {7: pytest.approx(1.0), 9: -1.0}
    assert str(scores) == "mAP 1.000  AP50 1.000  AP75 1.000  (stop sign 1.000)"


def test_a_subset_without_ground_truth_is_minus_one() -> None:
    truth, detections = small()
    table = MatchTable.build(truth, detections)
    scores = table.evaluate([])
    assert (scores.map, scores.map50, scores.map75, scores.per_class) == (-1.0, -1.0, -1.0, {7: -1.0, 9: -1.0})
    assert "no ground truth" in str(scores)
    assert table.evaluate_many([]).map.shape == (0,)


def test_an_unknown_image_is_named() -> None:
    table = MatchTable.build(*small())
    with pytest.raises(KeyError, match="image 4 is not among the 10 images"):
        table.evaluate([3, 8, 4])
    with pytest.raises(KeyError, match="image 999999999999 "):
        table.evaluate_many([[3], [999999999999]])
    with pytest.raises(KeyError, match="image -3 "):
        table.evaluate([-3], weights=[1])
    with pytest.raises(KeyError, match="image 4 "):
        table.running([4])
    with pytest.raises(ValueError, match="integers, not float64"):
        table.evaluate([3.5])  # type: ignore[list-item]


def test_a_repeated_id_counts_once_and_has_one_weight() -> None:
    table = MatchTable.build(*small(list(np.linspace(0.1, 1, 10))))
    assert table.evaluate([3, 8, 3]).map == table.evaluate([8, 3]).map
    with pytest.raises(ValueError, match="3 image ids name 2 images"):
        table.evaluate([3, 8, 3], weights=[1, 1, 1])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([0.1] * 10, "multiples of 2"),
        ([-1.0] * 10, "not negative"),
        ([float("nan")] * 10, "finite"),
        ([1.0] * 9, r"shape \(1, 9\), but there are 10 images"),
        ([[1.0] * 10] * 2, r"shape \(1, 2, 10\), but there are 10 images"),
        ([2.0**41] * 10, "too much"),
    ],
)
def test_weights_that_cannot_be_exact_are_refused(weights: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MatchTable.build(*small()).evaluate(weights=weights)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score": float("nan")}, "score nan is not finite"),
        ({"score": "high"}, "detection 0: score must be a number, not .high."),
        ({"image_id": 4}, "detection 0 is in image 4"),
        ({"bbox": [1, 2, 3]}, r"detection 0: bbox must be \[x, y, width, height\]"),
        ({"bbox": [1, 2, 3, float("inf")]}, "is not finite"),
    ],
)
def test_malformed_detections_are_named(change: dict, message: str) -> None:
    truth, detections = small()
    detections[0] |= change
    with pytest.raises(ValueError, match=message):
        MatchTable.build(truth, detections)


@pytest.mark.parametrize("value", ["7", "a7", 2**63, 2**70, 1.5, None, True, float("nan"), [1]])
@pytest.mark.parametrize(
    ("table", "key"),
    [("images", "id"), ("categories", "id"), ("annotations", "image_id"), ("annotations", "category_id")],
)
def test_ids_that_are_no_whole_numbers_of_64_bits_are_refused_at_once(table: str, key: str, value: object) -> None:
    """numpy reads "7" as 7, and 1.5 as 1."""
    truth, detections = small()
    truth[table][0][key] = value
    with pytest.raises(ValueError, match=rf"0: {key} (must be a|is \d+|is nan)"):
        MatchTable.build(truth, detections)


def test_the_greatest_id_of_64_bits_is_kept() -> None:
    truth, detections = small()
    before = truth["images"][0]["id"]
    for row in [*truth["annotations"], *detections]:
        row["image_id"] = 2**63 - 1 if row["image_id"] == before else row["image_id"]
    truth["images"][0]["id"] = 2**63 - 1
    assert 2**63 - 1 in MatchTable.build(truth, detections).image_ids.tolist()


def test_malformed_ground_truth_is_named() -> None:
    truth, detections = small()
    with pytest.raises(ValueError, match="no 'categories'"):
        MatchTable.build({"images": [], "annotations": []}, detections)
    del truth["annotations"][2]["bbox"]
    with pytest.raises(ValueError, match="annotation 2: bbox must be"):
        MatchTable.build(truth, detections)
    with pytest.raises(ValueError, match="max_dets is 0"):
        MatchTable.build(*small(), max_dets=0)


def a_dataset(rng: np.random.Generator) -> tuple[Dataset, list[Detections]]:
    images, detections = [], []
    for image_id in rng.permutation(30):
        n, m = rng.integers(0, 6), rng.integers(0, 12)
        corner = rng.random((n + m, 2)) * 60
        boxes = np.concatenate([corner, corner + rng.random((n + m, 2)) * 40 + 1], axis=1).astype(np.float32)
        classes = rng.integers(0, 3, n + m)
        for k in range(min(n, m)):  # some detections lie near their object
            boxes[n + k], classes[n + k] = boxes[k] + rng.normal(0, 1.5, 4), classes[k]
        crowd = rng.random(n) < 0.1
        images.append(LabeledImage(int(image_id), Path(f"{image_id}.png"), (100, 100), boxes[:n], classes[:n], crowd))
        scores = rng.random(m).astype(np.float32)
        detections.append(Detections(boxes[n:], scores, classes[n:], np.zeros((m, 3), np.float32), (100, 100)))
    return Dataset(tuple(images), ("a", "b", "c")), detections


def test_our_own_types_give_what_the_reported_map_gives() -> None:
    dataset, detections = a_dataset(np.random.default_rng(3))
    table, metrics = MatchTable.from_dataset(dataset, detections), evaluate(dataset, detections)
    scores = table.evaluate()
    assert (scores.map, scores.map50, scores.map75) == pytest.approx(
        (metrics.map, metrics.map50, metrics.map75), abs=1e-14
    )
    assert [scores.per_class[k] for k in range(3)] == pytest.approx(list(metrics.per_class.values()), abs=1e-14)
    with pytest.raises(ValueError, match="29 detections for 30 images"):
        MatchTable.from_dataset(dataset, detections[1:])


def test_saved_and_loaded_it_answers_the_same(tmp_path: Path) -> None:
    table = MatchTable.from_dataset(*a_dataset(np.random.default_rng(5)))
    table.save(tmp_path / "table")
    again = MatchTable.load(tmp_path / "table")
    assert again.fingerprint == table.fingerprint
    assert repr(again) == repr(table)
    assert again.evaluate([1, 2, 3]).per_class == table.evaluate([1, 2, 3]).per_class
    assert again.bootstrap(20, rng=1).map == table.bootstrap(20, rng=1).map
    assert [p.name for p in tmp_path.iterdir()] == ["table"]


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    MatchTable.build(*small()).save(tmp_path / "table")
    whole = (tmp_path / "table").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-100])
    with pytest.raises(ValueError, match="cut short"):
        MatchTable.load(tmp_path / "cut")
    (tmp_path / "other").write_bytes(b"PK" + whole)
    with pytest.raises(ValueError, match="not a match table"):
        MatchTable.load(tmp_path / "other")


def test_the_fingerprint_follows_the_input() -> None:
    truth, detections = small()
    first = MatchTable.build(truth, detections)
    assert MatchTable.build(truth, detections).fingerprint == first.fingerprint
    assert MatchTable.build(truth, detections, max_dets=5).fingerprint != first.fingerprint
    detections[3]["score"] = 0.8
    changed = MatchTable.build(truth, detections)
    assert changed.fingerprint != first.fingerprint
    assert changed.truth_fingerprint == first.truth_fingerprint
    truth["annotations"][0]["bbox"] = [0, 0, 10, 11]
    assert MatchTable.build(truth, detections).truth_fingerprint != first.truth_fingerprint


def _map_in_child(table: MatchTable, pipe: multiprocessing.connection.Connection) -> None:
    pipe.send(table.evaluate_many([table.image_ids] * 8).map.tolist())


def test_it_answers_in_a_forked_process() -> None:
    table = MatchTable.from_dataset(*a_dataset(np.random.default_rng(5)))
    here = table.evaluate_many([table.image_ids] * 8).map.tolist()  # the parent has used its threads
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=_map_in_child, args=(table, theirs))
    child.start()
    assert ours.poll(60)
    assert ours.recv() == here
    child.join(60)
    assert child.exitcode == 0


def test_a_second_process_does_not_compile_again() -> None:
    program = """
from tests.agent.match.test_match_table import small
from agent.match import build, lookup, query, weighted
from agent.match_table import MatchTable
table = MatchTable.build(*small())
table.evaluate([3, 8])
table.bootstrap(4, rng=0)
table.running([3]).scores()
used = [getattr(m, n) for m in (build, lookup, query, weighted) for n in vars(m)]
stats = [f.stats for f in used if hasattr(f, "stats") and f.signatures]
print(len(stats), sum(len(s.cache_hits) for s in stats), sum(len(s.cache_misses) for s in stats))
"""
    command = [sys.executable, "-c", program]
    first, second = (subprocess.run(command, check=False, capture_output=True, text=True) for _ in range(2))
    assert second.returncode == 0, first.stderr + second.stderr
    functions, hits, misses = map(int, second.stdout.split())
    assert functions >= 10
    assert hits > 0
    assert misses == 0

"""Exactness on data that nobody would draw by hand: ties, crowds, ignored and empty images, few detections allowed."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.match.scores import Scores
from agent.match_table import MatchTable
from tests.agent.match.coco_reference import Reference

SETTINGS = settings(max_examples=150, deadline=None)
# A coarse grid and few scores make equal overlaps and equal scores common.
SIDES = st.sampled_from([0, 1, 2, 3, 4, 5, 8])
BOXES = st.tuples(SIDES, SIDES, SIDES, SIDES).map(list)
# A detection of more than 1e10 square pixels, or of less than none, is ignored where it matches nothing.
ODD_SIDES = st.one_of(SIDES, SIDES, SIDES, st.sampled_from([-2, 10**6]))
FOUND_BOXES = st.tuples(SIDES, SIDES, ODD_SIDES, ODD_SIDES).map(list)
SCORES = st.sampled_from([0.1, 0.3, 0.30000001, 0.5, 0.9, 1.0])
CATEGORIES = [2, 5, 11]


def beside(truth: tuple[tuple, int, int, float]) -> tuple[int, int, list[int], float]:
    """A detection of a ground truth, `by` pixels off in one of its numbers."""
    (image, category, box, *_), by, place, score = truth
    return image, category, [value + by * (k == place) for k, value in enumerate(box)], score


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict, list[dict]]:
    """(ground truth, detections) of up to six images and three categories, one of which may have no ground truth."""
    ids = draw(st.lists(st.integers(0, 10**12), min_size=1, max_size=6, unique=True))
    used = draw(st.sampled_from([CATEGORIES, CATEGORIES[:2], CATEGORIES[1:2]]))
    truth = draw(
        st.lists(
            st.tuples(st.sampled_from(ids), st.sampled_from(used), BOXES, st.integers(0, 3), st.integers(0, 9)),
            max_size=24,
        )
    )
    anywhere = st.tuples(st.sampled_from(ids), st.sampled_from(CATEGORIES), FOUND_BOXES, SCORES)
    if truth:  # mostly near an object, or hardly any would match
        near = st.tuples(st.sampled_from(truth), st.sampled_from([0, 0, 0, 1, 2]), st.integers(0, 3), SCORES).map(
            beside
        )
        anywhere = st.one_of(anywhere, near, near)
    boxes = draw(st.lists(anywhere, max_size=48))
    annotations = [
        {
            "id": k + 1,
            "image_id": image,
            "category_id": category,
            "bbox": box,
            "area": {0: 2e10, 1: -1.0}.get(odd, float(box[2] * box[3])),  # outside pycocotools' range: ignored
            "iscrowd": int(crowd == 0),
        }
        for k, (image, category, box, crowd, odd) in enumerate(truth)
    ]
    images, categories = [{"id": i} for i in ids], [{"id": c, "name": f"c{c}"} for c in CATEGORIES]
    detections = [{"image_id": i, "category_id": c, "bbox": box, "score": s} for i, c, box, s in boxes]
    return {"images": images, "annotations": annotations, "categories": categories}, detections


def assert_equal(scores: Scores, expected: tuple[float, float, float, list[float]]) -> None:
    assert [scores.map, scores.map50, scores.map75] == pytest.approx(expected[:3], abs=1e-14)
    assert list(scores.per_class.values()) == pytest.approx(expected[3], abs=1e-14)


@SETTINGS
@given(cases(), st.sampled_from([1, 5, 100]), st.data())
def test_any_subset_is_what_pycocotools_gives(
    case: tuple[dict, list[dict]], max_dets: int, data: st.DataObject
) -> None:
    table, reference = MatchTable.build(*case, max_dets), Reference(*case, max_dets)
    subset = data.draw(st.lists(st.sampled_from(reference.image_ids), unique=True))
    assert_equal(table.evaluate(subset), reference.scores(subset))
    assert_equal(table.evaluate(), reference.scores(reference.image_ids))


@SETTINGS
@given(cases(), st.data())
def test_a_weight_is_a_number_of_copies(case: tuple[dict, list[dict]], data: st.DataObject) -> None:
    truth, detections = case
    table = MatchTable.build(truth, detections)
    weights = data.draw(st.lists(st.integers(0, 4), min_size=len(table), max_size=len(table)))
    scores = table.evaluate(weights=weights)
    assert_equal(scores, copied(truth, detections, dict(zip(table.image_ids.tolist(), weights, strict=True))))
    some = data.draw(st.permutations([k for k, weight in enumerate(weights) if weight]))
    assert table.evaluate(table.image_ids[some], np.array(weights)[some]).map == scores.map


def copied(truth: dict, originals: list[dict], weights: dict[int, int]) -> tuple[float, float, float, list[float]]:
    """pycocotools on a data set that holds every image `weights[id]` times, each copy following its original."""
    place = {image: k for k, image in enumerate(sorted(weights))}
    new: dict = {"images": [], "annotations": [], "categories": truth["categories"]}
    detections: list[dict] = []
    for image, weight in weights.items():
        for number in range(weight):
            fresh = 10 * place[image] + number
            new["images"].append({"id": fresh})
            detections += [d | {"image_id": fresh} for d in originals if d["image_id"] == image]
            for annotation in truth["annotations"]:
                if annotation["image_id"] == image:
                    new["annotations"].append(annotation | {"image_id": fresh, "id": len(new["annotations"]) + 1})
    reference = Reference(new, detections)
    return reference.scores(reference.image_ids)


@SETTINGS
@given(cases(), st.data())
def test_a_running_subset_follows_what_is_added_and_removed(case: tuple[dict, list[dict]], data: st.DataObject) -> None:
    table = MatchTable.build(*case)
    ids = table.image_ids.tolist()
    members: set[int] = set()
    running = table.running()
    for image in data.draw(st.lists(st.sampled_from(ids), max_size=12)):
        if image in members:
            running.remove(image)
        else:
            running.add(image)
        members ^= {image}
        if data.draw(st.booleans()):
            now, whole = running.scores(), table.evaluate(sorted(members))
            assert (now.map, now.map50, now.map75, now.per_class) == (
                whole.map,
                whole.map50,
                whole.map75,
                whole.per_class,
            )
    assert running.scores().per_class == table.evaluate(sorted(members)).per_class
    assert len(running) == len(members)


@SETTINGS
@given(cases(), st.randoms())
def test_the_order_of_the_input_lists_matters_only_within_a_tie(case: tuple[dict, list[dict]], random: object) -> None:
    truth, detections = copy.deepcopy(case)
    for k, detection in enumerate(detections):
        detection["score"] = (k + 1) / 64  # no ties
    first = MatchTable.build(truth, detections).evaluate()
    random.shuffle(detections)  # type: ignore[attr-defined]
    random.shuffle(truth["images"])  # type: ignore[attr-defined]
    assert MatchTable.build(truth, detections).evaluate().per_class == first.per_class


def rows(*images: str, category: int = 1, start: int = 0) -> tuple[list[dict], list[dict]]:
    """(annotations, detections): a word an image, a letter a detection, T exact and F beside everything; falling score.

    A letter in lower case ties with the one before it.
    """
    annotations: list[dict] = []
    detections: list[dict] = []
    score = 0.9
    for image, word in enumerate(images):
        for k, letter in enumerate(word):
            score -= 0.01 if letter.isupper() else 0.0
            box = [30 * k, 0, 10, 10] if letter in "Tt" else [30 * k, 500, 10, 10]
            detections.append({"image_id": image, "category_id": category, "bbox": box, "score": score})
            if letter in "Tt":
                number = start + len(annotations) + 1
                annotations.append({"id": number, "image_id": image, "category_id": category, "bbox": box, "area": 100})
    return annotations, detections


@pytest.mark.parametrize("word", ["Ft", "Tf", "Ftf", "Tft", "Fttf", "FTfTt"])
@pytest.mark.parametrize("weight", [2, 3, 7])
def test_copies_of_a_tie_follow_each_other_as_a_whole(word: str, weight: int) -> None:
    annotations, detections = rows("TT", word, "FT")
    truth = {
        "images": [{"id": i} for i in range(3)],
        "annotations": [a | {"iscrowd": 0} for a in annotations],
        "categories": [{"id": 1, "name": "a"}],
    }
    scores = MatchTable.build(truth, detections).evaluate(weights=[1, weight, 1])
    assert_equal(scores, copied(truth, detections, {0: 1, 1: weight, 2: 1}))


def test_a_false_alarm_alone_makes_its_class_stale() -> None:
    """Its number is the first of the second class: the border between two classes."""
    first, found_first = rows("T", "T")
    second, found_second = rows("F", "T", category=2, start=len(first))
    truth = {"images": [{"id": 0}, {"id": 1}], "annotations": first + second, "categories": [{"id": 1}, {"id": 2}]}
    table = MatchTable.build(truth, found_first + found_second)
    running = table.running([1])
    assert running.scores().per_class == {1: pytest.approx(1), 2: pytest.approx(1)}
    running.add(0)
    assert running.scores().per_class == {1: pytest.approx(1), 2: pytest.approx(0.5)}


def test_an_image_is_in_a_running_subset_once() -> None:
    truth = {"images": [{"id": 1}, {"id": 2}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    running = MatchTable.build(truth, []).running([1])
    assert 1 in running
    assert 2 not in running
    with pytest.raises(ValueError, match="image 1 is already in this subset of 1 images"):
        running.add(1)
    with pytest.raises(KeyError, match="image 2 is not in this subset of 1 images"):
        running.remove(2)


def test_fractions_of_an_image_scale() -> None:
    """Halves and quarters: without ties in an image, only the ratio of the weights counts (but for spacing(1))."""
    rng = np.random.default_rng(0)
    ids = range(40)
    truth = {
        "images": [{"id": i} for i in ids],
        "annotations": [
            {
                "id": 4 * i + k + 1,
                "image_id": i,
                "category_id": 1,
                "bbox": [20 * k, 0, 10, 10],
                "area": 100,
                "iscrowd": 0,
            }
            for i in ids
            for k in range(4)
        ],
        "categories": [{"id": 1, "name": "a"}],
    }
    detections = [
        {"image_id": i, "category_id": 1, "bbox": [20 * k + rng.normal(), 0, 10, 10], "score": rng.random()}
        for i in ids
        for k in range(6)
    ]
    table = MatchTable.build(truth, detections)
    whole = rng.integers(0, 5, 40)
    expected = table.evaluate(weights=whole)
    for scale in (0.5, 0.25, 2.0**-10, 8):
        assert table.evaluate(weights=whole * scale).map == pytest.approx(expected.map, abs=1e-12)
    assert expected.map == pytest.approx(table.evaluate_many(np.stack([whole, whole + 1]))[0].map, abs=0)

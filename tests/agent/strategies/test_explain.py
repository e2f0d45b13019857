"""The sentences of reasons, for every kind of image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from agent.pool.descriptors import describe
from agent.pool.newness import Newness
from agent.pool.pool import Pool
from agent.strategies.explain import Sentences, contents, count, distance, likeness, nothing_found
from agent.strategies.facts import Facts, reasons
from tests.agent.pools import detections_of, on_a_line, pool_of

AP = (0.8, 0.0, -1.0, 0.5)


def holding(*class_scores: Sequence[float], ap: Sequence[float] = AP) -> str:
    """What an image of these boxes, one row of class scores each, likely holds."""
    return contents(pool_of([detections_of(class_scores, len(ap))], [[0.0]], class_ap=ap), 0)


def test_an_image_without_boxes() -> None:
    assert holding() == "no object found"
    assert holding([0.04, 0.01, 0.0, 0.0]) == "no object found"  # its box does not count


def test_one_class() -> None:
    assert holding([0.0, 0.9, 0.0, 0.0]) == "likely holds one 'c1' object, a class with AP 0.00"
    assert holding(*[[0.0, 0.6, 0.0, 0.0]] * 3) == "likely holds two 'c1' objects, a class with AP 0.00"  # 1.8
    assert holding([0.5, 0.0, 0.0, 0.0]) == "likely holds one 'c0' object, a class with AP 0.80"  # half a box counts up
    assert holding([0.0, 0.0, 1.0, 0.0]) == "likely holds one 'c2' object, a class not measured yet"
    assert holding(*[[0.0, 1.0, 0.0, 0.0]] * 13).startswith("likely holds 13 'c1' objects")


def test_less_than_half_a_box() -> None:
    assert holding([0.1, 0.3, 0.0, 0.0]) == "perhaps holds one 'c1' object, a class with AP 0.00"


def test_several_classes_begin_with_the_one_that_counts_most() -> None:
    # expected times 1 - AP: c0 2 * .2, c1 1 * 1
    two = "likely holds one 'c1' object (AP 0.00) and two 'c0' objects (AP 0.80)"
    assert holding([1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]) == two
    # c2 3 * 1, c1 1 * 1, then c3 and c0: three more objects
    boxes = [[0.0, 0.0, 1.0, 0.0]] * 3 + [[0.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]] + [[0.0, 0.0, 0.0, 1.0]] * 2
    assert holding(*boxes) == (
        "likely holds three 'c2' objects (AP not measured yet), one 'c1' object (AP 0.00) and three other objects"
    )
    assert holding(*boxes[:5]).endswith(" and one other object")


def test_numbers_are_words_up_to_twelve() -> None:
    assert [count(n) for n in (1, 2, 12, 13)] == ["one", "two", "twelve", "13"]


@pytest.mark.parametrize(
    ("novelty", "usual", "task", "words"),
    [
        (1.5, (0.4, 1.2), 12, "unlike anything labeled"),
        (0.1, (0.4, 1.2), 12, "much like labeled task 12"),
        (0.8, (0.4, 1.2), 12, "somewhat like labeled task 12"),
        (0.8, (0.4, 1.2), None, "somewhat like a labeled task"),
        (0.0, (0.0, 0.0), 12, "much like labeled task 12"),  # all of the pool are copies of labeled images
        (1.0, (1.0, 1.0), 12, "somewhat like labeled task 12"),  # all are as far away
    ],
)
def test_likeness_is_relative_to_the_pool(
    novelty: float, usual: tuple[float, float], task: int | None, words: str
) -> None:
    assert likeness(novelty, usual, task) == words


def labeled_pool(labeled: Sequence[float]) -> Pool:
    """Five images on a line, of which the first holds two objects, beside labeled tasks 31, 32, ..."""
    boxes = [detections_of([[0.9], [0.9]]), *[detections_of([], 1)] * 4]
    return Pool.from_summaries(
        [1, 2, 3, 4, 5],
        np.array([describe(one) for one in boxes], np.float32),
        np.array([[9.0], [1.0], [2.0], [3.0], [4.0]], np.float32),
        ["warning"],
        np.reshape(np.array(labeled, np.float32), (-1, 1)),
        np.array([0.0]),
        labeled_ids=np.arange(31, 31 + len(labeled)),
    )


def said(pool: Pool, nearest: Sequence[int], own: Sequence[str]) -> list[str]:
    nothing = np.full(len(pool), -1)
    facts = Facts(nothing, nothing[:, None], np.array(nearest), nothing)
    return list(reasons(pool, facts, np.array([0, 1, 2, 3, 4]), own))


def test_a_sentence_says_what_an_image_holds_and_what_it_is_like() -> None:
    own = ["the first choice, which adds +0.00123 mAP", "adds +0.00010 mAP to the choices before it"]
    own += [f"place {k} by the agent's score" for k in (3, 4, 5)]
    sentences = said(labeled_pool([1.0, 3.5]), [1, 0, 0, 1, 1], own)
    warning = "likely holds two 'warning' objects, a class with AP 0.00"
    assert sentences == [
        f"{warning}; unlike anything labeled; the first choice, which adds +0.00123 mAP",
        "no object found; much like labeled task 31; adds +0.00010 mAP to the choices before it",
        "no object found; somewhat like labeled task 31; place 3 by the agent's score",
        "no object found; somewhat like labeled task 32; place 4 by the agent's score",
        "no object found; somewhat like labeled task 32; place 5 by the agent's score",
    ]


def test_a_sentence_where_nothing_is_labeled() -> None:
    first, *_ = said(labeled_pool([]), [-1] * 5, [""] * 5)
    assert first == "likely holds two 'warning' objects, a class with AP 0.00; nothing is labeled yet; "


def test_what_the_strategy_says_already_is_not_said_again() -> None:
    pool = labeled_pool([1.0])
    own = [f"{contents(pool, 0)}; weighted by weakness, its boxes count 1.80", *[nothing_found(pool, 1) or ""] * 4]
    first, second, *_ = said(pool, [0] * 5, own)
    assert first == (
        "likely holds two 'warning' objects, a class with AP 0.00; unlike anything labeled; "
        "weighted by weakness, its boxes count 1.80"
    )
    assert second == "no object found; much like labeled task 31; distance 0.00 to the nearest labeled image"


def test_what_a_distance_is_taken_to() -> None:
    assert distance(on_a_line([1, 2]), 0.5, 0) == "distance 0.50 to the mean of all images"
    assert distance(on_a_line([1, 2]), 0.5, 1) == "distance 0.50 to the nearest chosen image"
    assert distance(on_a_line([1, 2], [3]), 0.5, 0) == "distance 0.50 to the nearest labeled image"
    assert distance(on_a_line([1, 2], [3]), 0.5, 2) == "distance 0.50 to the nearest labeled or chosen image"


def test_sentences_are_made_when_they_are_asked_for() -> None:
    asked: list[int] = []

    def sentence(place: int) -> str:
        asked.append(place)
        return f"place {place}"

    sentences = Sentences(10**9, sentence)
    assert len(sentences) == 10**9
    assert asked == []
    assert sentences[3] == "place 3"
    assert sentences[-1] == f"place {10**9 - 1}"
    assert sentences[2:4] == ("place 2", "place 3")
    with pytest.raises(IndexError):
        sentences[10**9]
    assert Sentences(2, str) == ["0", "1"]
    assert Sentences(2, str) != ["0", "2"]


def test_a_copy_is_named() -> None:
    pool = labeled_pool([1.0, 3.5])  # images at 9, 1, 2, 3, 4: the second is a labeled one again
    newness = Newness(np.array([[9.0], [1.0], [2.0], [3.0], [3.1]], np.float32), np.array([1, 0, 1, 0.6, 1.0]), 0.5)
    nothing = np.full(5, -1)
    facts = Facts(nothing, nothing[:, None], np.array([1, 0, 0, 1, 1]), np.array([4, 4, 4, 4, 3]))
    by_place = dict(
        zip([5, 1, 2, 3, 4], reasons(pool, facts, np.array([4, 0, 1, 2, 3]), [""] * 5, newness), strict=True)
    )
    assert by_place[2] == "no object found; nearly the same picture as labeled task 31; "
    assert by_place[3] == "no object found; somewhat like labeled task 31; "  # its neighbour in the batch is far away
    assert by_place[4].endswith(
        "somewhat like labeled task 32; nearly the same picture as task 5, which comes before it; "
    )
    assert by_place[5].endswith("somewhat like labeled task 32; ")  # it stands before its copy

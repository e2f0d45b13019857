"""What an annotation costs, learned from made-up times whose costs are known."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from agent.costs import (
    FEWEST,
    NEWEST,
    SECONDS_A_BOX,
    SECONDS_AN_IMAGE,
    Effort,
    LabelingCosts,
    LearnedCosts,
    learn_costs,
)

IMAGE, DRAWN, KEPT = 5.0, 8.0, 2.5


def times(
    count: int = 300,
    outliers: float = 0.3,
    paces: Sequence[float] = (1.0,),
    seed: int = 0,
    boxes: tuple[float, float] = (2.4, 1.6),
) -> list[Effort]:
    """Annotations whose times vary by a factor of e^±.3; outliers are e to e^5 times too long. The slower people of
    `paces` got the fuller images."""
    rng = np.random.default_rng(seed)
    drawn, kept = (rng.poisson(mean, count) for mean in boxes)
    who = np.argsort(np.argsort(drawn + kept + rng.normal(0, 2, count))) * len(paces) // count
    seconds = (IMAGE + DRAWN * drawn + KEPT * kept) * np.exp(rng.normal(0, 0.3, count)) * np.array(paces)[who]
    late = rng.random(count) < outliers
    seconds[late] *= np.exp(rng.uniform(1, 5, int(late.sum())))
    columns = seconds.tolist(), drawn.tolist(), kept.tolist(), [f"person {k}" for k in who]
    return [Effort(*one) for one in zip(*columns, strict=True)]


@pytest.mark.parametrize("outliers", [0.0, 0.3])
def test_known_costs_are_found_though_a_third_of_the_times_are_wrong(outliers: float) -> None:
    found = [learn_costs(times(outliers=outliers, seed=seed)) for seed in range(5)]
    assert np.mean([one.image for one in found]) == pytest.approx(IMAGE, rel=0.15)
    assert np.mean([one.drawn for one in found]) == pytest.approx(DRAWN, rel=0.08)
    assert np.mean([one.kept for one in found]) == pytest.approx(KEPT, rel=0.2)
    assert max(abs(one.drawn / DRAWN - 1) for one in found) < 0.15
    assert found[0].learned


def test_times_that_are_too_short_do_no_more_harm() -> None:
    """A fifth of the annotations was submitted by mis-click, or sent by a script under a name of its own."""
    for who in ("person 0", "script"):
        rng = np.random.default_rng(3)
        some = [Effort(0.3, e.drawn, e.kept, who) if rng.random() < 0.2 else e for e in times(outliers=0.1)]
        found = learn_costs(some)
        assert found.image == pytest.approx(IMAGE, rel=0.3)
        assert found.drawn == pytest.approx(DRAWN, rel=0.15)


def test_ordinary_least_squares_would_be_far_off() -> None:
    """What the robust fit is for."""
    some = times()
    design = np.array([(1, one.drawn, one.kept) for one in some])
    plain = np.linalg.lstsq(design, np.array([one.seconds for one in some]), rcond=None)[0]
    assert plain[1] > 2 * DRAWN


def test_a_slow_annotator_with_the_full_images_does_not_make_boxes_dear() -> None:
    """The median of their paces is 1."""
    found = learn_costs(times(600, 0.1, paces=(0.5, 1.0, 2.0)))
    assert found.annotators == 3
    assert found.drawn / found.image == pytest.approx(DRAWN / IMAGE, rel=0.4)
    assert found.image + 4 * found.drawn == pytest.approx(IMAGE + 4 * DRAWN, rel=0.15)


def test_the_order_reckons_with_as_many_kept_boxes_as_there_were() -> None:
    found = LearnedCosts(IMAGE, DRAWN, KEPT, 0.4, 100, 2, learned=True)
    assert found.costs.box == pytest.approx(0.6 * DRAWN + 0.4 * KEPT)
    assert str(found) == (
        "an annotation costs 5 s and 5.8 s a box (8 s where it is drawn, 2.5 s where the model's is kept, which is so "
        "for 40%), by 100 annotations of 2 people"
    )


def test_before_there_is_enough_the_defaults_are_told_as_such() -> None:
    found = learn_costs(times(FEWEST - 1))
    assert found.costs == LabelingCosts(SECONDS_AN_IMAGE, SECONDS_A_BOX)
    assert not found.learned
    assert (
        str(found)
        == "an annotation is taken to cost 6 s and 7 s a box, until 20 annotations tell how long they took (19 do)"
    )
    assert learn_costs([]).costs == found.costs
    assert learn_costs(times(FEWEST)).learned


def test_what_annotations_do_not_tell_stays_as_it_was_taken_to_be() -> None:
    """All images hold one box: 26 s are shared out as 6 and 7 are, and nothing is known of boxes that are kept."""
    found = learn_costs([Effort(26.0, 1, 0)] * 50)
    assert found.image + found.drawn == pytest.approx(26, rel=0.02)
    assert found.image / found.drawn == pytest.approx(SECONDS_AN_IMAGE / SECONDS_A_BOX, rel=0.35)


def test_the_newest_count() -> None:
    before = [Effort(10 * one.seconds, one.drawn, one.kept) for one in times(NEWEST)]
    assert learn_costs(before + times(NEWEST)) == learn_costs(times(NEWEST))


@pytest.mark.parametrize("seconds", [1e-300, 1e300])
def test_no_times_are_too_strange(seconds: float) -> None:
    """Of half of the annotations, and of all of them."""
    for some in (times(60)[:30] + [Effort(seconds, 2, 0)] * 30, [Effort(seconds, k % 3, 0) for k in range(40)]):
        found = learn_costs(some)
        assert all(0 < value < np.inf for value in (found.costs.image, found.costs.box))


def test_what_is_kept_is_read_back() -> None:
    found = learn_costs(times(80))
    assert LearnedCosts.of_json(json.loads(json.dumps(found.to_json()))) == found


@pytest.mark.parametrize(("image", "box", "said"), [(0, 7, "0 seconds an image"), (6, -1, "-1 seconds a box")])
def test_costs_are_above_0(image: float, box: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LabelingCosts(image, box)

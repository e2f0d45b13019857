"""When what batches brought speaks against whose they were."""

from __future__ import annotations

import math

from agent.holdout import FEWEST_IMAGES
from agent.strategies.past import FEWEST, SURE, WINDOW, Past, evidence, refuted


def batches(count: int, gain: float, error: float = 0.01, strategy: str = "mgral", random: float = 0.01) -> list[Past]:
    return [Past(strategy, gain, error, random)] * count


def test_only_surely_less_than_random_refutes() -> None:
    edge = SURE * 0.01 / math.sqrt(FEWEST)  # of the mean difference
    assert refuted(batches(FEWEST, 0.01 - edge * 1.01), "mgral")
    assert not refuted(batches(FEWEST, 0.01 - edge * 0.99), "mgral")
    assert not refuted(batches(FEWEST, 0.03), "mgral")


def test_few_batches_and_those_of_others_say_nothing() -> None:
    assert not refuted(batches(FEWEST - 1, -1.0), "mgral")
    assert not refuted(batches(FEWEST, -1.0, strategy="two_stage"), "mgral")
    assert refuted(batches(FEWEST, -1.0, strategy="two_stage"), "two_stage")
    assert not refuted([], "mgral")


def test_what_was_refuted_is_tried_again_after_a_while() -> None:
    past = batches(FEWEST, -0.05)
    assert refuted(past + batches(WINDOW - FEWEST, 0.02, strategy="two_stage"), "mgral")
    assert not refuted(past + batches(WINDOW - FEWEST + 1, 0.02, strategy="two_stage"), "mgral")


def test_the_sentence_has_the_figures() -> None:
    past = [Past("mgral", gain, 0.01, 0.012) for gain in (-0.01, -0.02, -0.03)]
    assert refuted(past, "mgral") == (
        "the last 3 batches of mgral brought -0.0200 mAP each, and random ones had been estimated at +0.0120"
    )


def test_a_gain_on_few_images_is_no_evidence() -> None:
    """On three images a model that finds nothing before and after has a gain of 0 with an error of 0."""
    gain = (0.02, 0.01)
    assert evidence("mgral", gain, FEWEST_IMAGES, 0.012) == Past("mgral", *gain, 0.012)
    assert evidence("mgral", gain, FEWEST_IMAGES - 1, 0.012) is None
    assert evidence("mgral", (0.0, 0.0), FEWEST_IMAGES, 0.012) is None
    assert evidence("mgral", (0.02, math.nan), FEWEST_IMAGES, 0.012) is None
    assert evidence("mgral", None, FEWEST_IMAGES, 0.012) is None
    assert evidence("mgral", gain, FEWEST_IMAGES, None) is None

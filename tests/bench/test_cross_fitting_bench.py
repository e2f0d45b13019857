"""What the bench says of steps, against numbers worked out by hand."""

from __future__ import annotations

from bench.cross_fitting import Step, figures


def step(
    held: tuple[float, float, float], fitted: tuple[float, float, float], truth: tuple[float, float, float]
) -> Step:
    return Step(24, {"holdout": 5, "cross-fitted": 24}, {"holdout": held, "cross-fitted": fitted, "truth": truth})


def test_a_call_is_wrong_only_against_a_sure_truth() -> None:
    better, worse, open_ = (0.1, 0.05, 0.15), (-0.1, -0.2, -0.05), (0.0, -0.1, 0.1)
    steps = [step(open_, better, better), step(worse, better, worse), step(better, worse, open_)]
    told = figures(steps)
    assert told["holdout"] == {
        "steps": 3,
        "distance": 0.0667,
        "width": 0.15,
        "whole intervals": 2,
        "called": 0,  # of five images
        "wrongly": 0,
        "sure truths": 2,
    }
    assert (told["cross-fitted"]["called"], told["cross-fitted"]["wrongly"]) == (3, 1)


def test_a_step_without_a_holdout_counts_for_cross_fitting_alone() -> None:
    one = Step(24, {"cross-fitted": 24}, {"cross-fitted": (0.1, 0.0, 0.2), "truth": (0.1, 0.0, 0.2)})
    both = step((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    assert [figures([one, both])[way]["steps"] for way in ("holdout", "cross-fitted")] == [1, 2]

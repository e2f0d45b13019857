"""What the laboratory says of runs, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agent.costs import LabelingCosts
from agent.strategies.mgral import Mgral
from bench import laboratory


def test_areas_by_images_boxes_and_minutes() -> None:
    """Of 10 images and 10 more a cycle, straight from mAP 0 to .5. The other run is at twice random's mAP everywhere,
    and draws 40 boxes a cycle where random draws 10: at 6 s an image and 7 s a box, 340 s instead of 130 s."""
    points = np.arange(laboratory.CYCLES + 1)
    about = {"copies": 0, "empty": 0, "seconds": 1.0}
    random = about | {"map": (0.1 * points).tolist(), "boxes": (10 + 10 * points).tolist()}
    other = about | {"map": (0.2 * points).tolist(), "boxes": (10 + 40 * points).tolist()}
    found = laboratory.summary({"random": {0: random}, "other": {0: other}}, 10, 10)["other"]
    assert found["area"] == pytest.approx(2)
    # random at the boxes of the other run: a straight line to .5 at a quarter of the way, and flat behind it
    assert found["by_boxes"] == pytest.approx(0.5 / (0.25 / 4 + 0.5 * 3 / 4), abs=0.01)
    reached = 130 / 340
    assert found["by_minutes"] == pytest.approx(0.5 / (0.25 * reached + 0.5 * (1 - reached)), abs=0.01)
    assert found["by_minutes_interval"] == [found["by_minutes"]] * 2


def test_behind_a_name_stands_what_is_counted() -> None:
    strategy = laboratory.strategy_of("mgral-greedy+counts+minutes", 0)
    assert isinstance(strategy, Mgral)
    assert (strategy.config.costs, strategy.config.chooser) == (LabelingCosts(), "greedy")
    for name, doubt in (("mgral", True), ("mgral+minutes", True), ("mgral+expected", False), ("mgral+ridge", False)):
        strategy = laboratory.strategy_of(name, 0)
        assert isinstance(strategy, Mgral)
        assert strategy.config.doubt == doubt
    assert laboratory.strategy_of("entropy+counts", 0).name == "entropy"
    with pytest.raises(ValueError, match=r"entropy\+minutes: only mgral's strategies choose by minutes"):
        laboratory.strategy_of("entropy+minutes", 0)

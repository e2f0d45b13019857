from __future__ import annotations

import json

import numpy as np
import pytest

from agent.rounding import rounded


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_what_json_does_not_know_is_none(value: float) -> None:
    assert rounded(value) is None


def test_digits() -> None:
    assert rounded(np.float64(0.123456)) == 0.1235
    assert rounded(0.123456, 3) == 0.123
    assert json.dumps(rounded(np.float64(-1.0))) == "-1.0"  # a plain float

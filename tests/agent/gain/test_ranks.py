from __future__ import annotations

import numpy as np
import pytest

from agent.gain.ranks import ranks, spearman


def test_ties_share_their_mean_rank() -> None:
    assert ranks([5.0, -1.0, 5.0, 7.0, 5.0]).tolist() == [3, 1, 3, 5, 3]


def test_spearman_by_hand() -> None:
    assert spearman([1, 2, 3, 4], [10, 20, 30, 45]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    # ranks 1, 2.5, 2.5, 4 against 1, 3, 2, 4: 4.5 / sqrt(4.5 * 5)
    assert spearman([1, 2, 2, 5], [1, 3, 2, 4]) == pytest.approx(4.5 / np.sqrt(4.5 * 5))
    assert np.isnan(spearman([1, 1, 1], [1, 2, 3]))

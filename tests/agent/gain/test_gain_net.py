from __future__ import annotations

import numpy as np
import pytest
import torch

from agent.gain.net import GainNet, predict_held_out
from tests.agent.gain.test_gain_worlds import concave, world


def test_a_function_that_is_no_sum_is_learned() -> None:
    rng = np.random.default_rng(0)
    w = world(rng, width=6)

    def gain(batch: np.ndarray) -> float:  # two clusters teach only together
        count = np.bincount(w.label[batch], minlength=6)
        return 0.001 * float(np.sqrt(count[:3].sum() * count[3:].sum()))

    net = GainNet.fit(w.measure(60, gain, 0.0005, rng), rng)
    fresh = [w.batch(rng) for _ in range(200)]
    read, std = np.array([net.estimate(w.phi[b]) for b in fresh]).T
    assert np.corrcoef([gain(b) for b in fresh], read)[0, 1] > 0.6
    assert (std > 0).all()


def test_empty_batch_sums_of_codes_and_seed() -> None:
    rng = np.random.default_rng(1)
    w = world(rng)
    rows = w.measure(12, concave(w, rng), 0.001, rng)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    net, same, other = (GainNet.fit(rows, np.random.default_rng(s), members=3) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads
    codes = net.codes(w.phi[:7])
    assert codes.dtype == np.float32
    assert codes.shape == (7, len(codes[0]))
    assert [float(v[0]) for v in net.read(np.zeros((1, codes.shape[1])))] == [0.0, 0.0]
    assert net.estimate(w.phi[:9]) == same.estimate(w.phi[:9])
    assert net.estimate(w.phi[:9]) != other.estimate(w.phi[:9])
    codes = net.codes(w.phi[:20]).astype(np.float64)
    mean, std = net.read(codes.sum(axis=0)[None] - codes[:5].sum(axis=0))
    np.testing.assert_allclose((mean[0], std[0]), net.estimate(w.phi[5:20]), atol=1e-5)


def test_a_held_out_row_has_no_part_in_its_prediction() -> None:
    rng = np.random.default_rng(2)
    w = world(rng)
    rows = w.measure(8, concave(w, rng), 0.001, rng)
    rows = type(rows)(w.row(r.ids, r.gain - 0.002 * (i == 0) + 0.002 * (i == 1), 0.1) for i, r in enumerate(rows))
    swapped = [w.row(r.ids, rows[i ^ 1].gain if i < 2 else r.gain, 0.1) for i, r in enumerate(rows)]
    out = np.arange(8)[None] < 2
    one, other = (predict_held_out(r, out, np.random.default_rng(0)) for r in (rows, swapped))
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_no_rows() -> None:
    with pytest.raises(ValueError, match="none: take the gain table"):
        GainNet.fit([], np.random.default_rng(0))

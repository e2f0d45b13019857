"""The policy's scores, its exact likelihood, and the order it gives a pool."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.policy import policy as policy_module
from agent.policy.policy import KAPPA, LARGEST_SCORE, Policy, choose_batch, log_likelihood, rank_rows, sample_batches
from bench.planted import PlantedTable


def fresh(features: int, seed: int = 0) -> Policy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Policy(features)


def planted(n: int, cells: int = 4, features: int = 3, seed: int = 0) -> tuple[np.ndarray, PlantedTable]:
    rng = np.random.default_rng(seed)
    table = PlantedTable.draw(cells, features, rng)
    return table.images(n, 0.5, rng), table


def test_a_score_depends_on_the_images_before_it_alone() -> None:
    x = torch.from_numpy(planted(12)[0])[None].repeat(2, 1, 1)
    x[1, 7:] += 1
    scores = fresh(3)(x)
    assert scores.shape == (2, 12)
    torch.testing.assert_close(scores[0, :7], scores[1, :7])
    assert (scores[0, 7:] != scores[1, 7:]).all()
    assert scores.abs().max() <= LARGEST_SCORE


def test_the_decision_before_is_the_score_and_its_probability() -> None:
    policy, x = fresh(3), torch.from_numpy(planted(3)[0])
    state, decision = None, torch.zeros(1, 2)
    for k in range(3):
        state = policy.cell(torch.cat([x[k : k + 1], decision], dim=1), state)
        score = 10 * policy.decode(state[0])
        decision = torch.cat([score, 1 / (1 + (-score).exp())], dim=1)
        torch.testing.assert_close(policy(x[None])[0, k], score[0, 0])


@given(
    scores=st.lists(st.floats(-10, 10), min_size=1, max_size=5),
    data=st.data(),
)
@settings(max_examples=30, deadline=None)
def test_likelihoods_of_all_ordered_batches_sum_to_one(scores: list[float], data: st.DataObject) -> None:
    take = data.draw(st.integers(1, len(scores)))
    everything = torch.tensor(list(permutations(range(len(scores)), take)))[None]
    total = log_likelihood(torch.tensor([scores], dtype=torch.float64), everything).exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-9)


def test_likelihood_equals_drawing_one_after_another() -> None:
    scores = np.array([0.3, -1.2, 2.0, 0.7])
    for batch in permutations(range(4), 3):
        left, expected = list(range(4)), 1.0
        for image in batch:
            expected *= np.exp(scores[image]) / np.exp(scores[left]).sum()
            left.remove(image)
        likelihood = log_likelihood(torch.tensor(scores)[None], torch.tensor([[batch]])).exp()
        assert float(likelihood) == pytest.approx(expected, rel=1e-9)


def test_the_likelihood_has_a_gradient_when_everything_is_chosen() -> None:
    scores = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    log_likelihood(scores, torch.tensor([[[2, 0, 1]], [[0, 1, 2]]])).sum().backward()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()


def test_sampled_frequencies_are_the_likelihoods() -> None:
    scores = torch.tensor([[0.5, -0.5, 1.0, 0.0]])
    draws = 40_000
    batches = sample_batches(scores, draws, 2, torch.Generator().manual_seed(3))[0]
    for batch in permutations(range(4), 2):
        p = float(log_likelihood(scores, torch.tensor([[batch]])).exp())
        share = float((batches == torch.tensor(batch)).all(dim=1).float().mean())
        assert abs(share - p) < 4 * np.sqrt(p * (1 - p) / draws)


@pytest.mark.parametrize(("n", "budget"), [(1, 1), (1, 5), (2, 1), (30, 40), (50, 0), (300, 7), (700, 90)])
def test_every_row_is_ranked_once_and_the_batch_comes_first(n: int, budget: int) -> None:
    phi, table = planted(n)
    ranked = rank_rows(fresh(3), phi, table, budget, 2, seed=0)
    assert sorted(ranked.order.tolist()) == list(range(n))
    assert ranked.batch.tolist() == ranked.order[: min(budget, n)].tolist()
    assert len(ranked.batch) == min(budget, n)
    assert np.isfinite(ranked.scores).all()
    assert (np.diff(ranked.scores) <= 0).all()


def test_the_same_seed_gives_the_same_order_and_groups_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    phi, table = planted(900)
    first = rank_rows(fresh(3), phi, table, 20, 2, seed=5)
    monkeypatch.setattr(policy_module, "GROUP", 1)
    again = rank_rows(fresh(3), phi, table, 20, 2, seed=5)
    assert first.batch.tolist() == again.batch.tolist()
    np.testing.assert_allclose(first.scores, again.scores, atol=1e-5)


def test_scores_behind_the_batch_are_the_means_over_shuffles() -> None:
    phi, table = planted(40)
    policy, shuffles = fresh(3), 3
    ranked = rank_rows(policy, phi, table, 4, shuffles, seed=2)
    rng, mean = np.random.default_rng(2), np.zeros(40)
    for _ in range(shuffles):
        order = rng.permutation(40)
        mean[order] += policy(torch.from_numpy(phi[order])[None]).detach().numpy()[0] / shuffles
    behind = ranked.order[4:]
    np.testing.assert_allclose(ranked.scores[4:], mean[behind], atol=1e-5)


def test_inside_the_batch_each_image_adds_most_to_those_before() -> None:
    phi, table = planted(60)
    batch = rank_rows(fresh(3), phi, table, 8, 1, seed=0).batch
    codes = table.codes(phi)
    for k in range(8):
        sums = codes[batch[:k]].sum(axis=0) + codes[batch[k:]]
        assert table.read(sums)[0][0] == pytest.approx(table.read(sums)[0].max())


def test_a_memory_mapped_pool_is_ranked_like_one_in_memory(tmp_path: Path) -> None:
    phi, table = planted(500)
    np.save(tmp_path / "phi.npy", phi)
    mapped = np.load(tmp_path / "phi.npy", mmap_mode="r")
    one, other = (rank_rows(fresh(3), x, table, 10, 1, seed=1) for x in (phi, mapped))
    assert one.order.tolist() == other.order.tolist()


def test_a_chosen_batch_is_worth_what_is_said() -> None:
    phi, table = planted(400)
    rows = np.arange(100, 400)
    batch, value = choose_batch(fresh(3), phi, table, rows, 12, np.random.default_rng(0))
    assert len(np.unique(batch)) == 12
    assert batch.min() >= 100
    mean, std = table.estimate(phi[batch])
    assert value == pytest.approx(mean - KAPPA * std)

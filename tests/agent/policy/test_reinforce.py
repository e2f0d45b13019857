"""REINFORCE against what can be known exactly: its gradient on a toy, and the optimum of a separable concave table."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch

from agent.policy.policy import KAPPA, Policy, log_likelihood, lower_bound, rank_rows
from agent.policy.reinforce import (
    Episode,
    ReinforceConfig,
    batch_rewards,
    draw_chunks,
    draw_imitation,
    leave_one_out,
    reinforce_loss,
    train_policy,
)
from bench.planted import PlantedTable

SHORT = ReinforceConfig(updates=6, chunks=2, episodes=4, imitation=3, check=2)


def planted(n: int, cells: int = 5, features: int = 6, seed: int = 0) -> tuple[np.ndarray, PlantedTable]:
    rng = np.random.default_rng(seed)
    table = PlantedTable.draw(cells, features, rng)
    return table.images(n, 0.6, rng), table


def value(table: PlantedTable, phi: np.ndarray) -> float:
    return float(lower_bound(table, table.codes(phi).sum(axis=0)[None])[0])


def optimum(table: PlantedTable, phi: np.ndarray, budget: int) -> float:
    """Lower bound of the batch chosen greedily, which nothing exceeds where gains are separable and concave."""
    codes, left, total = table.codes(phi), list(range(len(phi))), np.zeros(len(table.heights))
    for _ in range(budget):
        total = total + codes[left.pop(int(lower_bound(table, total + codes[left]).argmax()))]
    return float(lower_bound(table, total[None])[0])


def test_greedy_is_the_optimum_of_every_batch_of_a_toy() -> None:
    phi, table = planted(7, cells=3)
    exhaustive = max(value(table, phi[list(rows)]) for rows in permutations(range(7), 3))
    assert optimum(table, phi, 3) == pytest.approx(exhaustive)


class Toy:
    """One sequence of 4 images, batches of 2: twelve outcomes, so that every expectation is a finite sum."""

    def __init__(self) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.policy = Policy(3).double()
        phi, table = planted(4, cells=3, features=3, seed=1)
        self.phi = torch.from_numpy(phi)[None].double()
        self.batches = torch.tensor(list(permutations(range(4), 2)))[None]
        self.rewards = torch.from_numpy(batch_rewards(table, phi[None], self.batches, 1.0))

    def probabilities(self) -> torch.Tensor:
        return log_likelihood(self.policy(self.phi), self.batches).exp()

    def gradient(self, loss: torch.Tensor) -> torch.Tensor:
        return torch.cat([g.ravel() for g in torch.autograd.grad(loss, list(self.policy.parameters()))])

    def finite_differences(self, step: float = 1e-5) -> torch.Tensor:
        """Of the expected reward in every parameter."""
        out = []
        with torch.no_grad():
            for parameter in self.policy.parameters():
                flat = parameter.view(-1)
                for k in range(0, len(flat), 37):
                    was = float(flat[k])
                    flat[k] = was + step
                    above = float((self.probabilities() * self.rewards).sum())
                    flat[k] = was - step
                    out.append((above - float((self.probabilities() * self.rewards).sum())) / (2 * step))
                    flat[k] = was
        return torch.tensor(out, dtype=torch.float64)

    def every_37th(self, gradient: torch.Tensor) -> torch.Tensor:
        parts = gradient.split([p.numel() for p in self.policy.parameters()])
        return torch.cat([part[::37] for part in parts])


def test_the_gradient_equals_finite_differences() -> None:
    toy = Toy()
    outcomes = toy.batches.shape[1]
    p = toy.probabilities().detach()
    # each outcome weighted by its probability; the loss is a mean, hence times the number of outcomes
    differences = toy.finite_differences()
    loss = reinforce_loss(log_likelihood(toy.policy(toy.phi), toy.batches), p * toy.rewards * outcomes)
    assert differences.abs().max() > 1e-3
    torch.testing.assert_close(toy.every_37th(-toy.gradient(loss)), differences, atol=1e-7, rtol=1e-4)


def test_the_leave_one_out_baseline_does_not_bias_the_gradient() -> None:
    toy = Toy()
    p = toy.probabilities().detach()[0]
    first, second = torch.meshgrid(torch.arange(len(p)), torch.arange(len(p)), indexing="ij")
    pairs = torch.stack([first.ravel(), second.ravel()], dim=1)  # all outcomes of two episodes
    advantages = torch.from_numpy(leave_one_out(toy.rewards[0][pairs].numpy()))
    likelihoods = log_likelihood(toy.policy(toy.phi), toy.batches)[0][pairs]
    weights = (p[pairs].prod(dim=1) * len(pairs))[:, None]
    torch.testing.assert_close(
        toy.every_37th(-toy.gradient(reinforce_loss(likelihoods, advantages * weights))),
        toy.finite_differences(),
        atol=1e-7,
        rtol=1e-4,
    )


def test_leave_one_out_subtracts_the_mean_of_the_others() -> None:
    np.testing.assert_allclose(leave_one_out(np.array([[1.0, 2.0, 6.0]])), [[1 - 4, 2 - 3.5, 6 - 1.5]])


def test_rewards_are_lower_bounds_of_scaled_sums() -> None:
    phi, table = planted(10)
    batches = torch.tensor([[[3, 1, 4], [0, 9, 2]]])
    rewards = batch_rewards(table, phi[None], batches, 2.5)
    for k, rows in enumerate(batches[0].tolist()):
        mean, std = table.read(2.5 * table.codes(phi[rows]).sum(axis=0)[None])
        assert rewards[0, k] == pytest.approx(float(mean[0] - KAPPA * std[0]))


@pytest.mark.parametrize(
    ("budget", "pool", "expected"),
    [
        (20, 10_000, Episode(80, 20, 1.0)),
        (64, 10_000, Episode(256, 64, 1.0)),
        (640, 10_000, Episode(256, 64, 10.0)),
        (500, 1000, Episode(256, 128, 500 / 128)),
        (20, 50, Episode(50, 20, 1.0)),
        (9, 3, Episode(3, 3, 1.0)),
        (1, 1, Episode(1, 1, 1.0)),
    ],
)
def test_an_episode_keeps_the_share_of_the_candidates(budget: int, pool: int, expected: Episode) -> None:
    assert Episode.of(budget, pool) == expected


def test_chunks_hold_no_image_twice_and_every_second_one_was_chosen_lately() -> None:
    recent = np.array([5, 5, 7, 11, 13, 13, 17])
    chunks = draw_chunks(1000, recent, 4, 6, np.random.default_rng(0))
    assert all(len(set(chunk)) == 4 for chunk in chunks.tolist())
    assert np.isin(chunks[1::2], recent).all()
    assert not np.isin(chunks[0::2], recent).all(axis=1).any()


@pytest.mark.parametrize(("batch", "count"), [(list(range(50, 60)), 10), ([7, 3], 2)])
def test_imitation_hides_the_batch_among_others(batch: list[int], count: int) -> None:
    rng = np.random.default_rng(0)
    rows, positions = draw_imitation(300, np.array(batch), Episode.of(10, 300), 3, rng)
    assert rows.shape == (3, 40)
    assert positions.shape == (3, count)
    assert all(len(set(chunk)) == 40 for chunk in rows.tolist())
    assert np.take_along_axis(rows, positions, axis=1).tolist() == [batch] * 3


@pytest.mark.timeout(300)
def test_the_batch_reaches_95_percent_of_the_optimum() -> None:
    config = ReinforceConfig()
    ours, random = [], []
    for seed in range(2):
        phi, table = planted(120, seed=seed)
        policy, _ = train_policy(phi, table, 10, config, None, seed)
        best = optimum(table, phi, 10)
        ours.append(value(table, phi[rank_rows(policy, phi, table, 10, 1, seed).batch]) / best)
        rng = np.random.default_rng(seed)
        random.append(np.mean([value(table, phi[rng.permutation(120)[:10]]) / best for _ in range(50)]))
    assert min(ours) >= 0.95, np.round(ours, 3)
    assert max(ours) <= 1 + 1e-9
    assert np.mean(ours) > np.mean(random) + 0.05, (np.mean(ours), np.mean(random))


def test_a_warm_start_is_imitated() -> None:
    """With one cell of value, the order is by one number that the network can read off."""
    rng = np.random.default_rng(0)
    phi = rng.normal(size=(300, 3)).astype(np.float32)
    table = PlantedTable.draw(2, 3, rng)
    order = np.argsort(-phi[:, 0])
    config = ReinforceConfig(updates=0, imitation=80, chunks=4)
    policy, curve = train_policy(phi, table, 10, config, order, seed=0)
    with torch.no_grad():
        scores = policy(torch.from_numpy(phi[None, :40]))[0].numpy()
    assert np.corrcoef(scores, phi[:40, 0])[0, 1] > 0.5
    assert curve.rewards == ()
    assert [update for update, _ in curve.values] == [0]


def test_the_same_seed_gives_the_same_policy_and_leaves_torch_alone() -> None:
    phi, table = planted(80)
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    (one, first), (other, second) = (train_policy(phi, table, 5, SHORT, np.arange(80), seed=4) for _ in range(2))
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert train_policy(phi, table, 5, SHORT, None, seed=5)[1] != first
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_training_stops_when_nothing_improves() -> None:
    """All images are alike: no batch is better than another."""
    _, table = planted(1)
    phi = np.ones((50, 6), np.float32)
    updates: list[int] = []
    config = ReinforceConfig(updates=100, chunks=2, episodes=2, check=2, patience=3)

    def note(done: int, total: int, **figures: float) -> None:
        assert total == 100
        assert "reward" in figures
        updates.append(done)

    _, curve = train_policy(phi, table, 5, config, None, 0, note)
    assert updates == [1, 2, 3, 4, 5, 6]
    assert len(curve.rewards) == 6
    assert [update for update, _ in curve.values] == [0, 2, 4, 6]


def test_the_policy_kept_is_the_best_that_was_measured() -> None:
    phi, table = planted(60)
    config = ReinforceConfig(updates=8, chunks=2, episodes=4, check=1)
    _, curve = train_policy(phi, table, 6, config, None, seed=1)
    best = max(curve.values, key=lambda pair: pair[1])
    stopped, _ = train_policy(phi, table, 6, ReinforceConfig(8, 2, 4, check=1), None, seed=1)
    assert best[1] >= curve.values[0][1]
    assert all(torch.isfinite(p).all() for p in stopped.parameters())


@pytest.mark.parametrize(("n", "budget"), [(1, 1), (1, 3), (2, 1), (6, 6), (6, 9)])
def test_tiny_pools_and_large_budgets_train_and_rank(n: int, budget: int) -> None:
    phi, table = planted(n)
    policy, _ = train_policy(phi, table, budget, SHORT, np.arange(n), seed=0)
    assert all(torch.isfinite(p).all() for p in policy.parameters())
    assert sorted(rank_rows(policy, phi, table, budget, 2, 0).order.tolist()) == list(range(n))


def test_wrong_arguments_are_named() -> None:
    phi, table = planted(5)
    with pytest.raises(ValueError, match="budget 0 of a pool of 5"):
        train_policy(phi, table, 0, SHORT, None, 0)
    with pytest.raises(ValueError, match="rows 0 to 5 of a pool of 5"):
        train_policy(phi, table, 2, SHORT, np.arange(6), 0)
    with pytest.raises(ValueError, match="episodes 1"):
        ReinforceConfig(episodes=1)
    with pytest.raises(ValueError, match="check 0"):
        ReinforceConfig(check=0)

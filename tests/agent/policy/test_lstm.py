"""The recurrence written out: its values are torch's own cell's, its gradients those of finite differences."""

from __future__ import annotations

import pytest
import torch

from agent.policy.lstm import Weights, scores
from bench.recurrence import Plain


@pytest.fixture
def plain() -> Plain:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return Plain(5, 8).double()


@pytest.fixture
def phi() -> torch.Tensor:
    return torch.randn(3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_scores_are_those_of_torchs_own_cell(plain: Plain, phi: torch.Tensor) -> None:
    torch.testing.assert_close(plain.unrolled(phi), plain(phi))


def test_without_a_gradient_the_scores_are_the_same(plain: Plain, phi: torch.Tensor) -> None:
    with torch.no_grad():
        scores = plain.unrolled(phi)
    torch.testing.assert_close(scores, plain(phi))


def test_the_gradient_of_every_weight_is_automatic_differentiations(plain: Plain, phi: torch.Tensor) -> None:
    weights = torch.randn(3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    automatic = torch.autograd.grad((plain(phi) * weights).sum(), list(plain.parameters()))
    by_hand = torch.autograd.grad((plain.unrolled(phi) * weights).sum(), list(plain.parameters()))
    for name, ours, theirs in zip(dict(plain.named_parameters()), by_hand, automatic, strict=True):
        assert theirs.abs().max() > 0, name
        torch.testing.assert_close(ours, theirs)


def test_gradients_equal_finite_differences(plain: Plain, phi: torch.Tensor) -> None:
    weights = [w.detach().requires_grad_(True) for w in Weights.of(plain.cell, plain.decode)]
    assert torch.autograd.gradcheck(lambda *w: scores(phi[:2, :4], Weights(*w)), weights)

"""The policy's recurrence in one piece: forwards over a sequence, and its gradient backwards through time by hand.

Automatic differentiation keeps a dozen nodes for every image of a sequence; with tensors as small as these their
administration is most of the time. Written out, a pass with its gradient is faster (`python -m bench.recurrence`,
docs/MEASURED.md). `tests/agent/policy/test_lstm.py` holds values against torch's own cell, and gradients against
finite differences.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch.autograd.function import once_differentiable

LARGEST_SCORE = 10.0  # scores are bounded softly, so that sampling never freezes (Bello et al., 2017)
DECISION = 2  # numbers of a decision vector


class Weights(NamedTuple):
    """What every step is computed with; H is the size of the state, F that of a description.

    gates (4 H, F + 2 + H) and gate_bias (4 H,): the LSTM's, by input gate, forget gate, output gate and candidate, over
    [φ(x_k), d_{k-1}, h_{k-1}]. hidden (H, H), hidden_bias (H,), out (1, H), out_bias (1,): the decoder's.
    """

    gates: torch.Tensor
    gate_bias: torch.Tensor
    hidden: torch.Tensor
    hidden_bias: torch.Tensor
    out: torch.Tensor
    out_bias: torch.Tensor

    @classmethod
    def of(cls, cell: torch.nn.LSTMCell, decode: torch.nn.Sequential) -> Weights:
        """Those of torch's modules, whose order of gates has the candidate before the output gate; `decode` begins
        with a linear layer, a ReLU and another linear layer."""
        hidden, out = cast("torch.nn.Linear", decode[0]), cast("torch.nn.Linear", decode[2])
        size = cell.hidden_size
        place = torch.arange(4 * size).reshape(4, size)[[0, 1, 3, 2]].flatten()
        gates = torch.cat([cell.weight_ih, cell.weight_hh], dim=1)[place]
        bias = (cell.bias_ih + cell.bias_hh)[place]
        return cls(gates, bias, hidden.weight, hidden.bias, out.weight, out.bias)


def scores(phi: torch.Tensor, weights: Weights) -> torch.Tensor:
    """(E, T) scores of E sequences of T images, from their descriptions (E, T, F); no gradient reaches these."""
    if torch.is_grad_enabled():
        return _Unrolled.apply(phi, *weights)
    return _forward(phi, weights, keep=False)[0]


class _Activations(NamedTuple):
    """What the way back needs, each (T, E, .)."""

    joined: torch.Tensor
    gates: torch.Tensor
    cells: torch.Tensor
    squashed: torch.Tensor
    decoded: torch.Tensor
    bounded: torch.Tensor


def _forward(phi: torch.Tensor, w: Weights, *, keep: bool) -> tuple[torch.Tensor, _Activations | None]:
    sequences, length, features = phi.shape
    size, state = w.hidden.shape[0], features + DECISION
    steps = length if keep else 1  # rows of what is kept; one is used again and again where nothing is
    joined = phi.new_zeros(steps + keep, sequences, state + size)
    gates = phi.new_empty(steps, sequences, 4 * size)
    cells = phi.new_zeros(steps + keep, sequences, size)
    squashed, decoded = phi.new_empty(2, steps, sequences, size)
    bounded = phi.new_empty(length, sequences, 1)

    def rows(part: torch.Tensor) -> Sequence[torch.Tensor]:
        return part.unbind() if keep else [part[0]] * (length + 1)

    # views are made before the loop: in it each would cost as much as a sum
    images, all_joined, all_cells = phi.unbind(dim=1), rows(joined), rows(cells)
    described, scored, likely, states = (rows(part) for part in joined.split([features, 1, DECISION - 1, size], dim=2))
    yes_or_no, candidates = (rows(part) for part in gates.split([3 * size, size], dim=2))
    into, forget, out = (rows(part) for part in gates[..., : 3 * size].split(size, dim=2))
    all_gates, all_squashed, all_decoded = rows(gates), rows(squashed), rows(decoded)
    gate_weight, hidden_weight, out_weight = w.gates.T, w.hidden.T, w.out.T
    for k, (image, a) in enumerate(zip(images, bounded.unbind(), strict=True)):
        described[k].copy_(image)
        torch.addmm(w.gate_bias, all_joined[k], gate_weight, out=all_gates[k])
        yes_or_no[k].sigmoid_()
        candidates[k].tanh_()
        cell = torch.mul(forget[k], all_cells[k], out=all_cells[k + 1]).addcmul_(into[k], candidates[k])
        h = torch.mul(out[k], torch.tanh(cell, out=all_squashed[k]), out=states[k + 1])
        z = torch.addmm(w.hidden_bias, h, hidden_weight, out=all_decoded[k]).relu_()
        torch.addmm(w.out_bias, z, out_weight, out=a).tanh_()
        torch.sigmoid(torch.mul(a, LARGEST_SCORE, out=scored[k + 1]), out=likely[k + 1])
    result = (bounded[:, :, 0] * LARGEST_SCORE).T
    return result, _Activations(joined, gates, cells, squashed, decoded, bounded) if keep else None


class _Unrolled(torch.autograd.Function):
    """`_forward` with backpropagation through time (Werbos, 1990)."""

    @staticmethod
    def forward(ctx: Any, phi: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        result, activations = _forward(phi, Weights(*weights), keep=True)
        assert activations is not None
        ctx.save_for_backward(*weights, *activations)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        weights, activations = ctx.saved_tensors[: len(Weights._fields)], ctx.saved_tensors[len(Weights._fields) :]
        w, (joined, gates, cells, squashed, decoded, bounded) = Weights(*weights), _Activations(*activations)
        sequences, size = squashed.shape[1:]
        features = joined.shape[2] - DECISION - size
        into, forget, out, candidate = gates.split(size, dim=2)
        probability = joined[1:, :, features + 1 : features + DECISION]
        d_gates, d_hidden, d_bounded = torch.empty_like(gates), torch.empty_like(decoded), torch.empty_like(bounded)

        # derivatives of every squashing for all steps at once, and views before the loop
        gates_bent = torch.cat(
            [gates[..., : 3 * size] * (1 - gates[..., : 3 * size]), 1 - candidate**2], dim=2
        ).unbind()
        cell_bent = (out * (1 - squashed**2)).unbind()
        score_bent = (LARGEST_SCORE * (1 - bounded**2)).unbind()
        probability_bent = (probability * (1 - probability)).unbind()
        alive = ((decoded > 0).to(decoded.dtype) * w.out).unbind()
        d_into, d_forget, d_out, d_candidate = (part.unbind() for part in d_gates.split(size, dim=2))
        into, forget, candidate, before, tanh = (x.unbind() for x in (into, forget, candidate, cells[:-1], squashed))
        d_all, d_z, d_a = d_gates.unbind(), d_hidden.unbind(), d_bounded.unbind()
        by_loss, recurrent = grad.unsqueeze(2).unbind(dim=1), w.gates[:, features:]

        d_cell = torch.zeros_like(cells[0])
        back = joined.new_zeros(sequences, DECISION + size)  # of d_k and h_k, from the step after
        for k in reversed(range(len(by_loss))):
            by_score, by_probability, by_state = back.split([1, DECISION - 1, size], dim=1)
            d_score = torch.addcmul(by_loss[k] + by_score, by_probability, probability_bent[k])
            torch.mul(d_score, score_bent[k], out=d_a[k])
            d_h = torch.addmm(by_state, torch.mul(alive[k], d_a[k], out=d_z[k]), w.hidden)
            d_cell.addcmul_(d_h, cell_bent[k])
            torch.mul(d_cell, candidate[k], out=d_into[k])
            torch.mul(d_cell, before[k], out=d_forget[k])
            torch.mul(d_h, tanh[k], out=d_out[k])
            torch.mul(d_cell, into[k], out=d_candidate[k])
            d_cell.mul_(forget[k])
            back = d_all[k].mul_(gates_bent[k]) @ recurrent
        by_gates, by_hidden, by_out = (x.flatten(0, 1) for x in (d_gates, d_hidden, d_bounded))
        return (
            None,
            by_gates.T @ joined[:-1].flatten(0, 1),
            by_gates.sum(dim=0),
            by_hidden.T @ joined[1:, :, features + DECISION :].flatten(0, 1),
            by_hidden.sum(dim=0),
            by_out.T @ decoded.flatten(0, 1),
            by_out.sum(dim=0),
        )

"""How fast is the policy's recurrence written out, beside torch's own cell and automatic differentiation?

    python -m bench.recurrence             # some seconds on one core

Eight sequences of 96 images of 21 columns, as an update of the policy has; interleaved, medians, one thread. The last
line is JSON.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch

import torch

from agent.policy.lstm import LARGEST_SCORE, Weights, scores
from agent.policy.policy import HIDDEN

SEQUENCES, LENGTH, FEATURES, REPEAT = 8, 96, 21, 25


class Plain(torch.nn.Module):
    """The policy of the paper as torch's modules and automatic differentiation have it."""

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.cell = torch.nn.LSTMCell(features + 2, size)
        self.decode = torch.nn.Sequential(torch.nn.Linear(size, size), torch.nn.ReLU(), torch.nn.Linear(size, 1))

    def forward(self, phi: torch.Tensor) -> torch.Tensor:
        """(E, T) scores of (E, T, F) descriptions."""
        state, decision, found = None, phi.new_zeros(len(phi), 2), []
        for image in phi.unbind(dim=1):
            state = self.cell(torch.cat([image, decision], dim=1), state)
            score = LARGEST_SCORE * torch.tanh(self.decode(state[0]))
            decision = torch.cat([score, score.sigmoid()], dim=1)
            found.append(score)
        return torch.cat(found, dim=1)

    def unrolled(self, phi: torch.Tensor) -> torch.Tensor:
        """The same, written out."""
        return scores(phi, Weights.of(self.cell, self.decode))


def main() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    module, phi = Plain(FEATURES, HIDDEN), torch.randn(SEQUENCES, LENGTH, FEATURES)

    def once(forward: Callable[[torch.Tensor], torch.Tensor], *, learn: bool) -> float:
        start = time.perf_counter()
        with torch.set_grad_enabled(learn):
            found = forward(phi)
        if learn:
            found.sum().backward()
        return time.perf_counter() - start

    try:
        figures: dict[str, float] = {}
        for learn, name in ((True, "with_gradient"), (False, "scores_alone")):
            pairs = [(once(module, learn=learn), once(module.unrolled, learn=learn)) for _ in range(REPEAT)]
            plain, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
            figures |= {f"{name}_plain": plain, f"{name}_unrolled": ours, f"{name}_ratio": plain / ours}
            print(f"{name:16}{plain * 1e3:8.1f} ms plain {ours * 1e3:8.1f} ms unrolled {plain / ours:8.2f} times")
    finally:
        torch.set_num_threads(threads)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()

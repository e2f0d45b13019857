"""The prediction network of gains: deep sets (Zaheer et al., NeurIPS 2017), an ensemble trained all at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from agent.gain.model import GainModel
from agent.gain.rows import LEAST_ERROR, Noise, Row

CODE = 16
HIDDEN = 16
STEPS = 120
LOOK_EVERY = 10  # steps between two looks at the rows left out
LEARNING_RATE = 0.02
WEIGHT_DECAY = 0.1

Parameters = dict[str, torch.Tensor]


class GainNet(GainModel):
    """ΔmAP(batch) = g(sum of h(phi) / scale) - g(0) times a unit, in each of S members.

    h is a layer of CODE units and g an MLP of one hidden layer, so that the linear layer between them, g's first, acts
    on the batch and not on every image. An empty batch gains exactly nothing.

    Attributes:
        parameters: of all members, the members along the first axis.
        scale: mean batch size of the rows.
        unit: root mean square of their gains, in mAP.
    """

    def __init__(self, parameters: Parameters, scale: float, unit: float) -> None:
        self.parameters = parameters
        self.scale = scale
        self.unit = unit

    @classmethod
    def fit(cls, rows: Sequence[Row], rng: np.random.Generator, members: int = 5) -> GainNet:
        """Fit an ensemble of `members` on resamples of the rows, under their `Noise`.

        Each member stops where it predicts best those rows that its resample left out. Raises ValueError without
        rows.
        """
        if not rows:
            raise ValueError("a gain net needs measured rows, and there are none: take the gain table")
        data = _Data(rows)
        times = np.stack([_resample(np.ones(len(rows), bool), rng) for _ in range(members)])
        return cls(_train(data, times, np.where(times > 0, 0.0, 1.0), rng), data.scale, data.unit)

    def codes(self, phi: np.ndarray) -> np.ndarray:
        """(n, S * CODE) float32, the members' codes side by side."""
        with torch.no_grad():
            return _code(self.parameters, torch.as_tensor(np.asarray(phi, np.float32))).numpy()

    def draws(self, sums: np.ndarray) -> np.ndarray:
        """(E, S) gains by each member."""
        with torch.no_grad():
            units = _gain(self.parameters, torch.as_tensor(np.asarray(sums / self.scale, np.float32)))
        return units.numpy().T.astype(np.float64) * self.unit


def predict_held_out(
    rows: Sequence[Row], held_out: np.ndarray, rng: np.random.Generator, members: int = 2
) -> np.ndarray:
    """(S, n) predicted gains of all n rows by S ensembles; the s-th never saw the rows that held_out (S, n) marks."""
    data = _Data(rows)
    allowed = np.repeat(~held_out, members, axis=0)
    times = np.stack([_resample(mask, rng) for mask in allowed])
    parameters = _train(data, times, allowed & (times == 0), rng)
    with torch.no_grad():
        gains = data.predict(parameters).numpy().astype(np.float64) * data.unit
    return gains.reshape(len(held_out), members, len(rows)).mean(axis=1)


class _Data:
    """Rows as tensors: all batches' images end to end, and the row that each belongs to."""

    def __init__(self, rows: Sequence[Row]) -> None:
        gains = np.array([row.gain for row in rows])
        sizes = [len(row.ids) for row in rows]
        self.scale = max(float(np.mean(sizes)), 1.0)
        self.unit = max(float(np.sqrt(np.mean(gains**2))), LEAST_ERROR)
        self.noise = Noise.of(rows, gains - gains.mean())
        self.phi = torch.as_tensor(np.concatenate([row.phi for row in rows]).astype(np.float32))
        self.row = torch.as_tensor(np.repeat(np.arange(len(rows)), sizes))
        self.gains = torch.as_tensor((gains / self.unit).astype(np.float32))

    def precisions(self, times: np.ndarray) -> torch.Tensor:
        """(S, n, n) of S resamples (S, n), scaled to a mean weight of 1 a row."""
        stacked = np.stack([self.noise.precision(t) / max(np.sum(t / self.noise.own), 1e-12) for t in times])
        return torch.as_tensor(stacked.astype(np.float32))

    def predict(self, parameters: Parameters) -> torch.Tensor:
        """(S, n) gains in units."""
        codes = _code(parameters, self.phi)
        sums = codes.new_zeros(len(self.gains), codes.shape[1]).index_add(0, self.row, codes)
        return _gain(parameters, sums / self.scale)


def _resample(allowed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) how often each row was drawn, from those that may be seen."""
    rows = np.flatnonzero(allowed)
    return np.bincount(rng.choice(rows, len(rows)), minlength=len(allowed)).astype(np.float64)


def _train(data: _Data, times: np.ndarray, left_out: np.ndarray, rng: np.random.Generator) -> Parameters:
    """Fit S members at once on resamples times (S, n); each keeps its best state on left_out (S, n)."""
    parameters = _initial(len(times), data.phi.shape[1], torch.Generator().manual_seed(int(rng.integers(2**31))))
    optimizer = torch.optim.AdamW(parameters.values(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    learn, judge = data.precisions(times), data.precisions(left_out.astype(np.float64))
    best = torch.full((len(times),), math.inf)
    states = {name: value.detach().clone() for name, value in parameters.items()}
    for step in range(STEPS + 1):
        miss = data.predict(parameters) - data.gains
        if step % LOOK_EVERY == 0:
            with torch.no_grad():
                loss = torch.einsum("si,sij,sj->s", miss, judge, miss)
                better = loss < best
                best = torch.where(better, loss, best)
                for name, value in parameters.items():
                    states[name][better] = value[better]
        optimizer.zero_grad()
        torch.einsum("si,sij,sj->", miss, learn, miss).backward()
        optimizer.step()
    return states


def _initial(members: int, width: int, generator: torch.Generator) -> Parameters:
    """Weights of variance 1 / inputs, biases 0."""

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(members, *shape, generator=generator) / shape[0] ** 0.5

    parameters = {
        "code": normal(width, CODE),
        "code_bias": torch.zeros(members, 1, CODE),
        "head": normal(CODE, HIDDEN),
        "head_bias": torch.zeros(members, 1, HIDDEN),
        "out": normal(HIDDEN, 1),
    }
    return {name: value.requires_grad_() for name, value in parameters.items()}


def _code(parameters: Parameters, phi: torch.Tensor) -> torch.Tensor:
    """(images, S * CODE) h of images phi (images, F), by one product for all members."""
    weights = parameters["code"].permute(1, 0, 2).flatten(1)
    return functional.silu(torch.addmm(parameters["code_bias"].flatten(), phi, weights))


def _gain(parameters: Parameters, sums: torch.Tensor) -> torch.Tensor:
    """(S, batches) g of scaled sums of codes (batches, S * CODE), less g of the empty batch's."""
    split = sums.unflatten(1, (-1, CODE)).transpose(0, 1)
    empty = functional.silu(parameters["head_bias"])
    hidden = functional.silu(split @ parameters["head"] + parameters["head_bias"]) - empty
    return (hidden @ parameters["out"])[..., 0]

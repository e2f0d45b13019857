"""REINFORCE: the policy learns which batches the gain model values, by choosing thousands of them.

Williams (1992), with the mean of the other episodes on the same images as baseline (Kool et al., 2019), an entropy
bonus and gradient clipping. One update scores `chunks` sequences of candidates and draws `episodes` batches from each.

An episode chooses B of 4 B candidates. A sequence holds at most `agent.policy.policy.LONGEST`: above that both numbers
shrink alike, and the sum of the batch's codes is scaled up to B images before its gain is read.

Half of the sequences are drawn from the whole pool; the other half from images that episodes chose lately, which is
what the rounds of the policy's tournament will show it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch

from agent.gain.model import GainModel
from agent.policy.policy import (
    CANDIDATES,
    LONGEST,
    PointwisePolicy,
    Policy,
    choose_batch,
    log_likelihood,
    lower_bound,
    sample_batches,
)
from agent.pool.newness import Newness
from model.progress import Report, silent

TRIAL = 16  # sequences of the fixed sample of the pool on which progress is measured
RECENT = 16  # sequences that the images chosen lately would fill


@dataclass(frozen=True)
class ReinforceConfig:
    """How the policy learns.

    Attributes:
        updates: gradient steps, at most.
        chunks: sequences of candidates an update.
        episodes: batches drawn from each sequence, at least 2.
        learning_rate: of Adam.
        entropy: weight of the entropy of the first choice, against advantages of unit variance.
        gradient_norm: larger gradients are clipped to it.
        imitation: steps of imitating the warm start.
        check: updates between two measurements on the fixed sample.
        patience: measurements without improvement after which training ends.
        recurrent: whether the policy remembers the images before; False is the benchmark's ablation.
    """

    updates: int = 300
    chunks: int = 8
    episodes: int = 32
    learning_rate: float = 5e-3
    entropy: float = 0.01
    gradient_norm: float = 1.0
    imitation: int = 20
    check: int = 5
    patience: int = 30
    recurrent: bool = True

    def __post_init__(self) -> None:
        if self.episodes < 2:
            raise ValueError(f"episodes {self.episodes}: give at least 2, each is compared with the others")
        for name in ("chunks", "check", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: give at least 1")


@dataclass(frozen=True)
class LearningCurve:
    """How training went.

    Attributes:
        rewards: mean lower bound of the drawn batches, of each update.
        values: (update, lower bound of the batch that the policy picks from a fixed sample of the pool); the first is
            that of the warm start. The policy with the highest is kept.
    """

    rewards: tuple[float, ...]
    values: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Episode:
    """The numbers of an episode: choose `take` of `size` images, whose codes count `scale` times."""

    size: int
    take: int
    scale: float

    @classmethod
    def of(cls, budget: int, pool: int) -> Episode:
        """For a budget of at least 1 and a pool of at least 1 image."""
        budget = min(budget, pool)
        candidates = min(CANDIDATES * budget, pool)
        size = min(candidates, LONGEST)
        take = max(1, round(budget * size / candidates))
        return cls(size, take, budget / take)


def train_policy(
    phi: np.ndarray,
    gains: GainModel,
    budget: int,
    config: ReinforceConfig,
    warm_start: np.ndarray | None,
    seed: int,
    report: Report = silent,
    newness: Newness | None = None,
) -> tuple[Policy, LearningCurve]:
    """Train a policy to choose batches of `budget` images of a pool.

    The same seed gives the same policy on the same machine; torch's global generator stays as it was.

    Args:
        phi: (n, F) float32 descriptions, in memory or memory-mapped; only sampled rows are read.
        warm_start: (m,) rows in the order of a strategy that is imitated first, best first: at least its batch.
        report: called after every update with the mean reward.
        newness: of the pool's images; with it an image of a batch counts as far as it is new.

    Raises:
        ValueError: an empty pool, a budget below 1, or a warm start with rows that the pool has not.
    """
    n = len(phi)
    if n == 0 or budget < 1:
        raise ValueError(f"budget {budget} of a pool of {n} images: nothing can be chosen, so nothing can be learned")
    if warm_start is not None and len(warm_start) and not 0 <= np.min(warm_start) <= np.max(warm_start) < n:
        raise ValueError(f"warm start with rows {np.min(warm_start)} to {np.max(warm_start)} of a pool of {n} images")
    episode = Episode.of(budget, n)
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = (Policy if config.recurrent else PointwisePolicy)(phi.shape[1])
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
    trial = rng.choice(n, min(n, TRIAL * episode.size), replace=False)

    def step(loss: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), config.gradient_norm)
        optimizer.step()

    recent: np.ndarray = np.zeros(0, np.int64)
    if warm_start is not None:
        recent = np.asarray(warm_start[: CANDIDATES * budget], np.int64)
        for _ in range(config.imitation if len(warm_start) else 0):
            rows, positions = draw_imitation(n, recent[:budget], episode, config.chunks, rng)
            log_p = log_likelihood(policy(_rows(phi, rows)), torch.from_numpy(positions[:, None]))
            step(-log_p.mean() / positions.shape[1])

    def value() -> float:
        return choose_batch(policy, phi, gains, trial, budget, np.random.default_rng(seed), newness)[1]

    best, highest, since = copy.deepcopy(policy.state_dict()), value(), 0
    rewards, values = [], [(0, highest)]
    for update in range(1, config.updates + 1):
        rows = draw_chunks(n, recent, episode.size, config.chunks, rng)
        described = _rows(phi, rows)
        scores = policy(described)
        batches = sample_batches(scores, config.episodes, episode.take, generator)
        reward = batch_rewards(
            gains, described.numpy(), batches, episode.scale, None if newness is None else newness.take(rows)
        )
        advantage = torch.from_numpy(leave_one_out(reward)).to(scores.dtype)
        advantage /= advantage.square().mean().sqrt() + 1e-12
        log_p = scores.log_softmax(dim=1)
        entropy = -(log_p.exp() * log_p).sum(dim=1).mean()
        step(reinforce_loss(log_likelihood(scores, batches), advantage) / episode.take - config.entropy * entropy)

        winners = batches[torch.arange(len(rows)), torch.from_numpy(reward.argmax(axis=1))].numpy()
        recent = np.concatenate([recent, np.take_along_axis(rows, winners, axis=1).ravel()])[-RECENT * episode.size :]
        rewards.append(float(reward.mean()))
        report(update, config.updates, reward=rewards[-1])
        if update % config.check == 0:
            values.append((update, value()))
            since += 1
            if values[-1][1] > highest:
                best, highest, since = copy.deepcopy(policy.state_dict()), values[-1][1], 0
            if since >= config.patience:
                break
    policy.load_state_dict(best)
    return policy, LearningCurve(tuple(rewards), tuple(values))


def draw_chunks(n: int, recent: np.ndarray, size: int, chunks: int, rng: np.random.Generator) -> np.ndarray:
    """(chunks, size) rows without repetition within a chunk; every second chunk among `recent` where they suffice."""
    candidates = np.unique(recent)
    return np.stack(
        [
            rng.choice(candidates, size, replace=False)
            if k % 2 and len(candidates) >= size
            else rng.choice(n, size, replace=False)
            for k in range(chunks)
        ]
    )


def draw_imitation(
    n: int, batch: np.ndarray, episode: Episode, chunks: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """(chunks, size) rows: a part of the batch to be found, hidden among others; and its positions, best first.

    Maximising the Plackett-Luce likelihood of these positions is the listwise loss ListMLE (Xia et al., 2008).
    """
    others = np.setdiff1d(np.arange(n), batch)
    count = min(episode.take, len(batch))
    rows, positions = [], []
    for _ in range(chunks):
        part = batch[np.sort(rng.choice(len(batch), count, replace=False))]
        rest = rng.choice(others, min(episode.size - count, len(others)), replace=False)
        place = rng.permutation(count + len(rest))
        rows.append(np.concatenate([part, rest])[place])
        positions.append(np.argsort(place)[:count])
    return np.stack(rows), np.stack(positions)


def batch_rewards(
    gains: GainModel, described: np.ndarray, batches: torch.Tensor, scale: float, newness: Newness | None = None
) -> np.ndarray:
    """(S, E) lower bounds of batches (S, E, B) of positions in S sequences of descriptions (S, T, F).

    `newness`, where given, is of these images (S, T): each of a batch counts as far as it is new beside those before.
    """
    sequences, length, width = described.shape
    codes = gains.codes(described.reshape(-1, width)).reshape(sequences, length, -1)
    member = np.zeros((sequences, batches.shape[1], length), codes.dtype)
    counted: np.ndarray | int = 1
    if newness is not None:
        counted = np.stack([newness.take(s).of_each(batches[s].numpy()) for s in range(sequences)]).astype(codes.dtype)
    np.put_along_axis(member, batches.numpy(), counted, axis=2)
    sums = (member @ codes).astype(np.float64) * scale
    return lower_bound(gains, sums.reshape(-1, sums.shape[-1])).reshape(sequences, -1)


def leave_one_out(rewards: np.ndarray) -> np.ndarray:
    """(S, E) rewards less the mean of the other episodes of their sequence: unbiased, as no episode meets itself."""
    episodes = rewards.shape[1]
    return (rewards - rewards.mean(axis=1, keepdims=True)) * (episodes / (episodes - 1))


def reinforce_loss(log_likelihoods: torch.Tensor, advantages: torch.Tensor) -> torch.Tensor:
    """Scalar whose gradient estimates minus that of the expected reward: the score function estimator."""
    return -(log_likelihoods * advantages).mean()


def _rows(phi: np.ndarray, rows: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(phi[rows], np.float32))

"""The agent: an LSTM that reads images one after another and scores each, knowing how it scored those before.

The network follows the paper (arXiv 2601.15688), which took it from architecture search (Zoph & Le, ICLR 2017). A
batch is a sample from the Plackett-Luce model of the scores (Plackett, 1975). The batch of a pool is found by a
tournament: the best quarter of every sequence goes on, until four images are left for each place. Mean scores alone
would put look-alike images side by side, as the mean forgets what else had been chosen when an image was scored; within
a sequence the LSTM remembers.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from agent.gain.model import GainModel
from agent.policy import lstm
from agent.policy.lstm import LARGEST_SCORE
from agent.pool.newness import ALIKE, Newness

HIDDEN = 32
CANDIDATES = 4  # images that compete for one place in the batch
LONGEST = 256  # images of one sequence, at most
KAPPA = 0.25
"""Standard deviations by which a batch's estimated gain is discounted. With 1 the agent shunned every unusual image:
its batches were worth less than the best baseline's by the very table that it had learned from (docs/METHOD.md)."""
FINALS = 32  # shuffled sequences of the last candidates, each of which proposes a batch
GROUP = 1024  # sequences scored at once: 26 MB of descriptions with 25 columns


class Policy(torch.nn.Module):
    """[φ(x_k), d_{k-1}] -> LSTM cell, shared over the sequence -> two-layer MLP -> score s_k.

    The decision vector d_k = (s_k, sigmoid(s_k)) holds the score and the probability of the decision "label it" rather
    than a draw from it; d before the first image is 0. So the scores of a sequence are a function of its images alone,
    the Plackett-Luce likelihood of a batch is the whole and exact likelihood of an episode, and many episodes share one
    pass. A drawn decision would add a term and its variance per image, and cost a pass for every episode.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.cell = torch.nn.LSTMCell(features + 2, HIDDEN)
        self.decode = torch.nn.Sequential(
            torch.nn.Linear(HIDDEN, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1), torch.nn.Tanh()
        )

    def forward(self, phi: torch.Tensor) -> torch.Tensor:
        """(E, T) scores of E sequences of T images, from their descriptions (E, T, F)."""
        return lstm.scores(phi, lstm.Weights.of(self.cell, self.decode))


class PointwisePolicy(Policy):
    """The policy without its memory, which the benchmark compares it with: φ(x_k) -> MLP -> s_k."""

    def __init__(self, features: int) -> None:
        super().__init__(features)
        del self.cell
        self.encode = torch.nn.Sequential(torch.nn.Linear(features, HIDDEN), torch.nn.Tanh())

    def forward(self, phi: torch.Tensor) -> torch.Tensor:
        """See `Policy.forward`."""
        return LARGEST_SCORE * self.decode(self.encode(phi))[..., 0]


def sample_batches(scores: torch.Tensor, episodes: int, take: int, generator: torch.Generator) -> torch.Tensor:
    """(S, episodes, take) positions drawn without replacement from scores (S, T), in the order drawn.

    The largest of scores plus Gumbel noise are an exact Plackett-Luce sample (Yellott, 1977).
    """
    shape = (len(scores), episodes, scores.shape[1])
    exponential = torch.empty(shape, dtype=scores.dtype).exponential_(generator=generator)
    return (scores.detach()[:, None] - exponential.log()).topk(take, dim=-1).indices


def log_likelihood(scores: torch.Tensor, batches: torch.Tensor) -> torch.Tensor:
    """(S, E) Plackett-Luce log-likelihoods of E ordered batches (S, E, B) of positions, given scores (S, T).

    log P = Σ_j (s_{o_j} - log Σ_{k not among o_1..o_{j-1}} exp s_k).
    """
    everything = scores[:, None].expand(-1, batches.shape[1], -1)
    chosen = everything.gather(2, batches)
    # finite, because the gradient of the logarithm of nothing is not a number
    rest = everything.scatter(2, batches, -1e30).logsumexp(dim=2, keepdim=True)
    remaining = torch.cat([rest, chosen.flip(2)], dim=2).logcumsumexp(dim=2)[..., 1:]
    return chosen.sum(dim=2) - remaining.sum(dim=2)


def lower_bound(gains: GainModel, sums: np.ndarray) -> np.ndarray:
    """(E,) gains that E batches, given their sums of codes (E, K), are likely to reach: mean - κ std over the refits,
    less what these doubt for all batches alike."""
    draws = gains.relative(sums)
    return draws.mean(axis=1) - KAPPA * draws.std(axis=1, ddof=1)


class RankedRows(NamedTuple):
    """A pool in order.

    Attributes:
        order: (n,) int64 rows of the pool, best first. The batch stands first, by greedy marginal gain; the rest follow
            by mean score.
        scores: (n,) float64 along `order`, never rising: mean score of the image, or where larger that of any image
            behind it.
        batch: (B,) int64, the first rows of `order`.
    """

    order: np.ndarray
    scores: np.ndarray
    batch: np.ndarray


def rank_rows(
    policy: Policy,
    phi: np.ndarray,
    gains: GainModel,
    budget: int,
    shuffles: int,
    seed: int,
    newness: Newness | None = None,
) -> RankedRows:
    """Order a pool; the first `budget` are the batch to label.

    Args:
        phi: (n, F) float32, in memory or memory-mapped; read in groups of sequences.
        shuffles: passes over the pool, each in another order, whose mean is an image's score.
        newness: of the pool's images; without it no image is taken for the like of another.
    """
    rng = np.random.default_rng(seed)
    rows = np.arange(len(phi))
    mean = np.zeros(len(phi))
    for _ in range(shuffles):
        grid = _sequences(rng.permutation(rows))
        scores = _score(policy, phi, grid)
        mean[grid[grid >= 0]] += scores[grid >= 0] / shuffles
    batch = choose_batch(policy, phi, gains, rows, budget, rng, newness)[0]
    batch = batch[greedy(gains, gains.codes(phi[batch]).astype(np.float64), len(batch), _part(newness, batch))]
    others = behind(newness, batch, np.delete(rows, batch), mean)
    order = np.concatenate([batch, others])
    return RankedRows(order, np.maximum.accumulate(mean[order][::-1])[::-1], batch)


def choose_batch(
    policy: Policy,
    phi: np.ndarray,
    gains: GainModel,
    rows: np.ndarray,
    budget: int,
    rng: np.random.Generator,
    newness: Newness | None = None,
) -> tuple[np.ndarray, float]:
    """The batch (B,) that the policy picks among `rows` (m,) of phi (n, F), and its lower bound.

    The last 4 B images of the tournament are scored in several shuffles; each shuffle proposes a batch, and that of the
    highest lower bound is taken. A batch is the best of one sequence, or for a large budget of several side by side.
    Of near-copies the best goes on, and counts.
    """
    budget = min(budget, len(rows))
    if budget == 0:
        return np.zeros(0, np.int64), 0.0
    finalists = max(CANDIDATES * budget, 1)
    while len(rows) > finalists:
        places = max(finalists, -(-len(rows) // CANDIDATES))
        grid = _sequences(rng.permutation(rows))
        rows = _top(grid, _score(policy, phi, grid), places, newness)
    best, highest = rows[:budget], -np.inf
    codes = gains.codes(phi[rows]).astype(np.float64)
    position = np.arange(len(rows))
    grids = np.stack([_sequences(rng.permutation(position)) for _ in range(FINALS)])  # (S, sequences, T)
    scores = _score(policy, phi[rows], grids.reshape(-1, grids.shape[-1])).reshape(grids.shape)
    for grid, score in zip(grids, scores, strict=True):
        proposal = _top(grid, score, budget, _part(newness, rows))
        value = float(lower_bound(gains, summed(codes, proposal, _part(newness, rows))[None])[0])
        if value > highest:
            best, highest = rows[proposal], value
    return best, highest


def _sequences(rows: np.ndarray) -> np.ndarray:
    """(S, T) rows (n,) dealt to the fewest sequences of at most LONGEST; -1 ends those that are one shorter."""
    count = max(1, -(-len(rows) // LONGEST))
    length = -(-len(rows) // count)
    padded = np.full(count * length, -1, np.int64)
    padded[: len(rows)] = rows
    return padded.reshape(length, count).T


def _score(policy: Policy, phi: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """(S, T) float32 scores of sequences of rows of phi; -inf where a sequence has ended."""
    out = np.full(grid.shape, -np.inf, np.float32)
    with torch.no_grad():
        for start in range(0, len(grid), GROUP):
            part = grid[start : start + GROUP]
            scores = policy(torch.from_numpy(np.asarray(phi[part], np.float32))).numpy()
            out[start : start + GROUP] = np.where(part >= 0, scores, -np.inf)
    return out


def _top(grid: np.ndarray, scores: np.ndarray, count: int, newness: Newness | None) -> np.ndarray:
    """(count,) rows: the best of each sequence (S, T), an equal share of each; of near-copies the best first."""
    if newness is not None:
        return newness.best(grid, scores, count)
    rank = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    share, extra = divmod(count, len(grid))
    return grid[rank < share + (np.arange(len(grid)) < extra)[:, None]]


def _part(newness: Newness | None, rows: np.ndarray) -> Newness | None:
    """Of some images only."""
    return None if newness is None else newness.take(rows)


def summed(codes: np.ndarray, batch: np.ndarray, newness: Newness | None) -> np.ndarray:
    """(K,) sum of the codes (n, K) of a batch of rows (B,), each as far as it is new beside those before it."""
    if newness is None:
        return codes[batch].sum(axis=0)
    return newness.of_each(batch) @ codes[batch]


def greedy(gains: GainModel, codes: np.ndarray, count: int, newness: Newness | None = None) -> np.ndarray:
    """(count,) rows of codes (n, K), each the one that adds most to the lower bound of those before it, by its cost.

    By what it adds for its cost, because any beginning of such an order is then near the best for its own cost
    (Leskovec et al., KDD 2007): annotators stop where they like.
    """
    rest, order, reached = np.arange(len(codes)), [], 0.0
    total, seconds = np.zeros(codes.shape[1]), gains.seconds(codes)
    new = np.ones(len(codes)) if newness is None else newness.beside_labeled.astype(np.float64)
    for _ in range(count):
        values = lower_bound(gains.plain, total + new[rest, None] * codes[rest])
        place = int(np.argmax((values - reached) / seconds[rest]))
        pick = int(rest[place])
        order.append(pick)
        reached = float(values[place])
        total += new[pick] * codes[pick]
        rest = np.delete(rest, place)
        if newness is not None:
            new[rest] = np.minimum(new[rest], newness.beside(pick, rest))
    return np.array(order, np.int64)


def behind(newness: Newness | None, batch: np.ndarray, others: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The images that are not in the batch, by falling scores (n,); those like labeled or chosen ones last."""
    order = others[np.argsort(-scores[others], kind="stable")]
    if newness is None:
        return order
    alike = newness.beside_all(batch, order) < ALIKE
    return np.concatenate([order[~alike], order[alike]])


def greedy_rows(phi: np.ndarray, gains: GainModel, budget: int, newness: Newness | None = None) -> RankedRows:
    """Order a pool without a policy, which the benchmark compares it with: greedily, then by what each would add."""
    codes = gains.codes(phi).astype(np.float64)
    batch = greedy(gains, codes, budget, newness)
    total = summed(codes, batch, newness)
    added = (lower_bound(gains.plain, total + codes) - lower_bound(gains.plain, total[None])) / gains.seconds(codes)
    others = behind(newness, batch, np.delete(np.arange(len(phi)), batch), added)
    order = np.concatenate([batch, others])
    return RankedRows(order, np.maximum.accumulate(added[order][::-1])[::-1], batch)

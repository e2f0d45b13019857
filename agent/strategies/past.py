"""What labeled batches of a project brought, beside what random ones were estimated to bring: evidence from outside.

The gain table judges the agent's batch and the baselines' alike, so that it cannot see where it is wrong itself. A
training after a batch is a measurement that owes the table nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agent.holdout import FEWEST_IMAGES

WINDOW = 6  # trainings that count: a strategy that was refuted is tried again after so many
FEWEST = 3
SURE = 1.645  # standard errors: one-sided 95 %


@dataclass(frozen=True)
class Past:
    """One batch that was labeled and learned from.

    Attributes:
        strategy: whose it was.
        gain, error: ΔmAP of the training after it on one holdout, and its standard error.
        random: ΔmAP that the gain model had estimated for a random batch of its size.
    """

    strategy: str
    gain: float
    error: float
    random: float


def evidence(strategy: str, gain: tuple[float, float] | None, held_out: int, random: float | None) -> Past | None:
    """What the training after a batch tells of it; None where that is not known: without an estimate to compare with,
    or measured on so few images that the bootstrap cannot know the error.

    >>> evidence("mgral", (0.02, 0.01), 40, 0.012)
    Past(strategy='mgral', gain=0.02, error=0.01, random=0.012)
    >>> evidence("mgral", (0.0, 0.0), 3, 0.012)
    """
    if gain is None or random is None or not gain[1] > 0 or held_out < FEWEST_IMAGES:  # nor nan
        return None
    return Past(strategy, *gain, random)


def refuted(past: Sequence[Past], strategy: str) -> str:
    """Why a strategy's batches are not to be believed in any more; "" where nothing says so.

    That is where the last ones, FEWEST or more within WINDOW trainings, brought surely less than random batches were
    estimated to bring: the sum of the differences lies SURE standard errors below zero.

    Args:
        past: oldest first.

    >>> refuted([Past("mgral", -0.02, 0.01, 0.01)] * 3, "mgral")
    'the last 3 batches of mgral brought -0.0200 mAP each, and random ones had been estimated at +0.0100'
    >>> refuted([Past("mgral", -0.02, 0.04, 0.01)] * 3, "mgral")
    ''
    """
    own = [one for one in past[-WINDOW:] if one.strategy == strategy]
    if len(own) < FEWEST:
        return ""
    short = sum(one.random - one.gain for one in own)
    if not short > SURE * math.sqrt(sum(one.error**2 for one in own)):  # nor where one is no number
        return ""
    gain, random = (sum(values) / len(own) for values in zip(*((one.gain, one.random) for one in own), strict=True))
    return (
        f"the last {len(own)} batches of {strategy} brought {gain:+.4f} mAP each, and random ones had been estimated "
        f"at {random:+.4f}"
    )

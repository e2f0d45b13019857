"""Query strategies: which images of a pool to label next. One file each; `get(name)` gives one.

A new strategy is a file with a registered subclass of `Strategy`, and its name in the import below. The conformance
suite then tests it unasked.
"""

from agent.strategies import (  # noqa: F401  each registers its strategy
    coreset,
    entropy,
    kmeanspp,
    least_confidence,
    margin,
    mgral,
    random,
    two_stage,
    weakness,
)
from agent.strategies.base import Pointwise, Ranking, Strategy, get, names

__all__ = ["Pointwise", "Ranking", "Strategy", "get", "names"]

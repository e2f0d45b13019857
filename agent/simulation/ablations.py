"""What parts of the agent earn their keep: mgral with one of them changed, by name."""

from __future__ import annotations

ABLATIONS: dict[str, str] = {
    "mgral-surrogates": "rows from pseudo-labels too, half as many as from hindsight",
    "mgral-no-hindsight": "no measured rows: the gain table is what is known beforehand",
    "mgral-no-lstm": "each image scored from its own description alone",
    "mgral-greedy": "the table's greedy batch instead of the policy's",
    "mgral-always": "the agent's batch also where a baseline's is estimated as good",
}
"""Strategies of the benchmark alone; `agent.simulation.config` says how each is run."""

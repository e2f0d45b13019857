"""What parts of the agent earn their keep: mgral with one of them changed, by name."""

from __future__ import annotations

ABLATIONS: dict[str, str] = {
    "mgral-surrogates": "rows from pseudo-labels too, half as many as from hindsight",
    "mgral-no-newness": "near-copies count like all images",
    "mgral-no-doubt": "an image counts for all boxes that are expected in it, not for the detector's doubt",
    "mgral-no-hindsight": "no measured rows: the gain table is what is known beforehand",
    "mgral-no-lstm": "each image scored from its own description alone",
    "mgral-minutes": "a batch is to gain most by the minutes that it takes, not by its images",
    "mgral-greedy": "the table's greedy batch instead of the policy's",
    "mgral-always": "the agent's batch also where a baseline's is estimated as good",
}
"""Strategies of the benchmark alone; `agent.simulation.config` says how each is run."""

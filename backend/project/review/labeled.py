"""Which tasks of an order were labeled since it was made: the order itself stays as it is until the next ranking."""

from __future__ import annotations

import json
from collections.abc import Sequence

from backend.label_studio.client import Studio, rule

SECONDS = 2.0  # between two bytes of the answer


def labeled_among(studio: Studio, project: int, tasks: Sequence[int]) -> set[int]:
    """Which of a page's tasks hold an annotation now. Raises StudioError.

    A skipped task counts, as Label Studio does not give it to the same person again.
    """
    rules = [rule("annotations_ids", "greater", 0), rule("id", "in_list", list(tasks))]
    asked = {
        "project": project,
        "page": 1,
        "page_size": len(tasks),
        "include": "id",
        "query": json.dumps({"filters": {"conjunction": "and", "items": rules}}),
    }
    answer = studio.call("GET", "/api/tasks", params=asked, timeout=(SECONDS, SECONDS))
    return {int(row["id"]) for row in answer["tasks"]}

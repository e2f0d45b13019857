"""What Label Studio asks a backend while people label: the requests of one opened and submitted task.

The forms are Label Studio 1.23's. A task without a prediction is opened: GET /health, POST /setup, POST /predict, one
after the other; then its annotator draws, and submits: POST /webhook.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

UNKNOWN = 5  # of so many opened tasks the backend has not seen one
LATE = 1_000_000_000  # ids of tasks that it has not seen; a project's own are smaller
EVENTS = {
    "ANNOTATION_CREATED": 80,
    "skip": 6,  # an ANNOTATION_CREATED too
    "ANNOTATION_UPDATED": 9,
    "ANNOTATIONS_DELETED": 2,
    "PROJECT_UPDATED": 1,
    "TASKS_CREATED": 1,
    "START_TRAINING": 1,
}
"""How often each event comes, of a hundred"""


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        kind: "health", "setup", "predict" or "webhook".
        body: of a POST; None: it is a GET.
        known: of /predict, whether the backend has predicted the task before, and so must have an answer.
    """

    kind: str
    body: dict[str, Any] | None = None
    known: bool = True

    @property
    def path(self) -> str:
        """Where it goes."""
        return f"/{self.kind}"


@dataclass(frozen=True)
class Traffic:
    """The requests of one project's annotators; which they are follows from the number of the visit.

    Attributes:
        project: as Label Studio's API and its events show it.
        tasks: (id, image) of the tasks that are predicted; each image an upload.
        result: the regions that are drawn.
    """

    project: dict[str, Any]
    tasks: Sequence[tuple[int, str]]
    result: Sequence[dict[str, Any]]

    def opened(self, number: int) -> list[Request]:
        """What a task causes that is opened by somebody. One in UNKNOWN is new to the backend, and so is its image:
        an upload under an address of its own, which it has to fetch and to look at."""
        known = number % UNKNOWN > 0
        project, config = f"{self.project['id']}.1795336536", self.project["label_config"]
        setup = {
            "project": project,
            "schema": config,
            "hostname": "http://localhost:8080",
            "access_token": "0" * 40,
            "extra_params": {},
        }
        params = {"login": None, "password": None, "context": None}
        body = {"tasks": [self._task(number, known)], "project": project, "label_config": config, "params": params}
        return [Request("health"), Request("setup", setup), Request("predict", body, known)]

    def submitted(self, number: int) -> Request:
        """The event of a task that is submitted, or another that comes as often as EVENTS says."""
        event = random.Random(number).choices(list(EVENTS), list(EVENTS.values()))[0]
        about = self.project | {"total_annotations_number": (self.project["total_annotations_number"] or 0) + number}
        task, skipped = self._task(number, True), event == "skip"
        annotation = {
            "id": LATE + number,
            "result": [] if skipped else list(self.result),
            "was_cancelled": skipped,
            "ground_truth": False,
            "lead_time": 4.0,
            "task": task["id"],
            "project": self.project["id"],
            "completed_by": 1,
        }
        body: dict[str, Any] = {"action": "ANNOTATION_CREATED" if skipped else event, "project": about}
        if event in ("ANNOTATION_CREATED", "skip", "ANNOTATION_UPDATED"):
            body |= {"annotation": annotation, "task": task}
        elif event == "ANNOTATIONS_DELETED":
            body["annotations"] = [{"id": annotation["id"]}]
        elif event == "TASKS_CREATED":
            body["tasks"] = [task]
        return Request("webhook", body)

    def _task(self, number: int, known: bool) -> dict[str, Any]:
        """As requests and events show it."""
        task, image = self.tasks[random.Random(number).randrange(len(self.tasks))]
        if not known:
            task, image = LATE + number, f"{image}?late={number}"
        return {
            "id": task,
            "data": {"image": image},
            "meta": {},
            "created_at": "2026-11-22T08:35:37.672246Z",
            "updated_at": "2026-11-22T08:35:37.672283Z",
            "is_labeled": False,
            "overlap": 1,
            "inner_id": 1,
            "total_annotations": 0,
            "cancelled_annotations": 0,
            "total_predictions": 0,
            "project": self.project["id"],
            "annotations": [],
            "predictions": [],
        }

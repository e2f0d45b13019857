"""What Label Studio 1.23 sends, as far as anything in it is read; the rest of each real request is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from backend.settings import Settings

CONFIG = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Car"/><Label value="Bus"/></RectangleLabels></View>'
)
CONTEXT = {"login": None, "password": None, "context": None}


def task(number: int, project: int = 1, image: str = "/data/upload/1/a.jpg") -> dict[str, Any]:
    """A task as /predict gets it."""
    return {
        "id": number,
        "project": project,
        "data": {"image": image},
        "annotations": [],
        "predictions": [],
        "is_labeled": False,
    }


def event(action: str, project: int, annotations: int, **about: Any) -> dict[str, Any]:
    """A webhook; `annotations` is how many the project holds after it."""
    counters = {"task_number": 12, "total_annotations_number": annotations, "skipped_annotations_number": 0}
    return {"action": action, "project": {"id": project, "title": "Cars", "label_config": CONFIG, **counters}, **about}


def annotation(skipped: bool = False) -> dict[str, Any]:
    """A submitted annotation; a skip is one without result."""
    value = {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["Car"]}
    region = {"from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}
    return {"id": 159, "task": 236, "project": 19, "was_cancelled": skipped, "result": [] if skipped else [region]}


EVENTS = {
    "PROJECT_UPDATED": event("PROJECT_UPDATED", 1, 0),
    "skip": event("ANNOTATION_CREATED", 19, 0, annotation=annotation(skipped=True)),
    "ANNOTATION_CREATED": event("ANNOTATION_CREATED", 19, 1, annotation=annotation()),
    "TASKS_CREATED": event("TASKS_CREATED", 19, 0, tasks=[task(247, 19)]),
    "ANNOTATIONS_CREATED": event("ANNOTATIONS_CREATED", 19, 3, annotation=[annotation()] * 3),
    "START_TRAINING": event("START_TRAINING", 1, 0),
}

REGION = annotation()["result"]
PREDICTIONS = {
    "task_open": {"tasks": [task(1)], "project": "1.1795336536", "label_config": CONFIG, "params": CONTEXT},
    "dm_batch": {
        "tasks": [task(number) for number in range(2, 22)],
        "project": "1.1795336536",
        "label_config": CONFIG,
        "params": CONTEXT,
    },
    "interactive": {
        "tasks": [task(259, 24)],
        "project": "24.1795337015",
        "label_config": CONFIG,
        "params": CONTEXT | {"context": {"result": REGION}},
    },
}


def connected(settings: Settings, *projects: int) -> None:
    """Let projects look as after `mgral connect`: they have a directory."""
    for project in projects:
        (Path(settings.model_dir) / str(project)).mkdir(parents=True, exist_ok=True)

"""Works in a project through Label Studio's API as people do: uploads images, takes the next task, labels it.

For the demo and the tests; the product itself never labels anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from backend.label_studio.client import Studio
from backend.label_studio.labels import region
from model.data.dataset import Dataset, LabeledImage

UPLOAD = 40  # files in one request; Label Studio takes at most 100


def label_config(names: Sequence[str]) -> str:
    """A config with one RectangleLabels control."""
    labels = "".join(f"<Label value={quoteattr(name)}/>" for name in names)
    return (
        '<View><Image name="image" value="$image"/>'
        f'<RectangleLabels name="label" toName="image">{labels}</RectangleLabels></View>'
    )


class Annotator:
    """A person who knows the right boxes of every image of `truth`."""

    def __init__(self, studio: Studio, truth: Dataset) -> None:
        self.studio, self.truth = studio, truth
        self.by_name = {image.path.name: image for image in truth.images}
        self.by_task: dict[int, LabeledImage] = {}

    def create_project(self, title: str, config: str | None = None) -> int:
        """A project with the data set's classes as labels (or with `config`); returns its id."""
        body = {"title": title, "label_config": config or label_config(self.truth.names)}
        return int(self.studio.call("POST", "/api/projects", json=body)["id"])

    def upload(
        self, project: int, images: Sequence[LabeledImage], report: Callable[[int], None] = lambda _: None
    ) -> None:
        """Upload images as tasks, as dropping them into the import window does."""
        for start in range(0, len(images), UPLOAD):
            chunk = images[start : start + UPLOAD]
            files = [(image.path.name, (image.path.name, image.path.read_bytes())) for image in chunk]
            self.studio.call("POST", f"/api/projects/{project}/import", files=files)
            report(start + len(chunk))
        for task in self.studio.tasks(project):
            stored = Path(task.data["image"]).name  # Label Studio puts an 8-digit prefix before the name
            self.by_task[task.id] = self.by_name[stored.partition("-")[2]]

    def next_task(self, project: int) -> dict[str, Any]:
        """What "Label All Tasks" opens."""
        return self.studio.call("GET", f"/api/projects/{project}/next")

    def label(self, task: int) -> None:
        """Submit the right boxes of a task."""
        self.studio.call(
            "POST", f"/api/tasks/{task}/annotations/", json={"result": self.result(task), "lead_time": 3.0}
        )

    def result(self, task: int) -> list[dict]:
        """The right boxes of a task as regions."""
        image = self.by_task[task]
        return [
            region(f"r{k}", "label", "image", image.size, corners, self.truth.names[c])
            for k, (corners, c) in enumerate(zip(image.xyxy.tolist(), image.class_ids, strict=True))
        ]

    def label_next(self, project: int) -> int:
        """Take the next task and label it; returns its id."""
        task = int(self.next_task(project)["id"])
        self.label(task)
        return task

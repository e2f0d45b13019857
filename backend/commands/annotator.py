"""Works in a project through Label Studio's API as people do: uploads images, takes the next task, labels it.

For the demo and the tests; the product itself never labels anything.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from PIL import Image

from agent.costs import SECONDS_A_BOX, SECONDS_AN_IMAGE
from backend.label_studio.client import Studio
from backend.label_studio.labels import region
from model.data.dataset import Dataset, LabeledImage
from model.data.images import load_image

UPLOAD = 40  # files in one request; Label Studio takes at most 100
TAKEN = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"}  # suffixes of the pictures that it lets people upload
SHORT = 40  # letters of a file's own name; it cuts longer ones


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
        self.place_of = {image.id: place for place, image in enumerate(truth.images)}
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
            files = [(name, (name, content)) for name, content in map(self._file, chunk)]
            self.studio.call("POST", f"/api/projects/{project}/import", files=files)
            report(start + len(chunk))
        for task in self.studio.tasks(project):
            stored = Path(task.data["image"]).name  # Label Studio puts an 8-digit prefix before the name
            self.by_task[task.id] = self.truth.images[int(stored.split("-")[1])]

    def _file(self, image: LabeledImage) -> tuple[str, bytes]:
        """A name that begins with the image's place among all, and that Label Studio leaves as it is; and the bytes.

        What Label Studio does not take (.tif, .jfif) is uploaded as the PNG of the same pixels.
        """
        bare = re.sub(r"[^A-Za-z0-9_.]+", "_", image.path.stem)[:SHORT]
        name, suffix = f"{self.place_of[image.id]:05d}-{bare}", image.path.suffix.lower()
        if suffix in TAKEN:
            return name + suffix, image.path.read_bytes()
        png = io.BytesIO()
        Image.fromarray(load_image(image.path)).save(png, "PNG")
        return f"{name}.png", png.getvalue()

    def next_task(self, project: int) -> dict[str, Any]:
        """What "Label All Tasks" opens."""
        return self.studio.call("GET", f"/api/projects/{project}/next")

    def label(self, task: int) -> None:
        """Submit the right boxes of a task, as if it had taken the usual time."""
        result = self.result(task)
        seconds = SECONDS_AN_IMAGE + SECONDS_A_BOX * len(result)
        self.studio.call("POST", f"/api/tasks/{task}/annotations/", json={"result": result, "lead_time": seconds})

    def result(self, task: int) -> list[dict]:
        """The right boxes of a task as regions."""
        image = self.by_task[task]
        return [
            region(f"r{k}", "label", "image", image.size, corners, self.truth.names[c])
            for k, (corners, c, crowd) in enumerate(zip(image.xyxy.tolist(), image.class_ids, image.crowd, strict=True))
            if not crowd  # nobody draws a box around many
        ]

    def label_next(self, project: int) -> int:
        """Take the next task and label it; returns its id."""
        task = int(self.next_task(project)["id"])
        self.label(task)
        return task

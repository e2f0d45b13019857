"""Annotated tasks as a data set: what cannot be used leaves its image out, and is named; nothing ends the job."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from backend.label_studio.client import Task
from backend.project.work import ProjectWork
from backend.queue.enqueue import Jobs
from backend.queue.progress import Progress
from backend.settings import Settings
from tests.backend.label_studio.web import Answer, running
from tests.backend.web.requests import CONFIG


def picture() -> str:
    """An image of 200 x 100 pixels, within its own address."""
    file = io.BytesIO()
    Image.new("RGB", (200, 100)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def region(**changes: Any) -> dict[str, Any]:
    value = {"x": 5, "y": 20, "width": 25, "height": 50, "rectanglelabels": ["Car"]} | changes
    return {"from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}


def test_several_annotations_are_merged_where_the_settings_say_so(settings: Settings, tmp_path: Path) -> None:
    settings.several_annotations = "majority"
    work = ProjectWork(1, settings, Jobs(settings), Progress(None, {"fetch": 1}))
    work.info = {"label_config": CONFIG}
    by = [{"result": [region(x=5 + k)], "completed_by": k, "updated_at": str(k)} for k in range(3)]
    task = Task(1, {"image": picture()}, (*by, {"result": [], "completed_by": 3, "updated_at": "4"}))
    dataset, left_out = work.dataset([task], tmp_path / "labeled")
    assert dataset.images[0].xyxy.tolist() == [[12, 20, 62, 70]]
    assert left_out.remark == "1 image has several annotations: merged, what most annotators drew counts"


def test_an_image_is_background_only_where_it_was_submitted_empty(settings: Settings, tmp_path: Path) -> None:
    work = ProjectWork(1, settings, Jobs(settings), Progress(None, {"fetch": 1}))
    work.info = {"label_config": CONFIG}
    results: list[Any] = [[region()], [], [region(rectanglelabels=[])], [region(width="x")], None]
    tasks = [Task(k, {"image": picture()}, ({"result": one},)) for k, one in enumerate(results, 1)]
    tasks.append(Task(6, {"image": [picture(), picture()]}, ({"result": [region()]},)))
    dataset, left_out = work.dataset(tasks, tmp_path / "labeled")
    assert [(image.id, len(image.class_ids)) for image in dataset.images] == [(1, 1), (2, 0)]
    assert left_out.tasks == {
        "a region without a label": [3],
        "a rectangle whose width is no number that can be used": [4],
        "an annotation whose result is no list": [5],
        "an image that cannot be read": [6],
    }
    assert str(left_out).startswith("4 of 6 annotated images are left out: 1 for a region without a label (task 3)")


def test_an_image_that_is_gone_when_it_is_asked_for_again_is_left_out(settings: Settings, tmp_path: Path) -> None:
    """The cache is small, or another process has filled it: one image of many ends no training."""
    with running() as studio:
        settings.label_studio_url, settings.cache_gb = studio.url, 1e-9
        studio.answers["/data/upload/1/gone"] = [Answer(), Answer(), Answer(404, b"")]
        work = ProjectWork(1, settings, Jobs(settings), Progress(None, {"fetch": 1}))
        work.info = {"label_config": CONFIG}
        names = ("a", "gone", "b")
        tasks = [Task(k, {"image": f"/data/upload/1/{name}.png"}, ({"result": []},)) for k, name in enumerate(names, 1)]
        dataset, left_out = work.dataset(tasks, tmp_path / "labeled")
    assert [image.id for image in dataset.images] == [1, 3]
    assert left_out.tasks == {"an image that cannot be read": [2]}
    assert "gone.png" in work.failed[0]

"""What jobs do where little of a project can be used: a Label Studio is played, queue and jobs are real."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from backend.jobs import ranking, running
from backend.project.serving import store_of
from backend.project.work import ProjectWork
from backend.queue.enqueue import Jobs
from backend.queue.graph import Graph
from backend.queue.progress import Progress, describe
from backend.queue.worker import worker
from backend.settings import Settings
from model.detectors.open import open_detector
from tests.backend.label_studio.web import Answer, Server
from tests.backend.label_studio.web import running as played
from tests.backend.project.test_dataset import picture, region
from tests.backend.web.requests import CONFIG

GOOD = {"image": picture()}


@pytest.fixture
def server() -> Iterator[Server]:
    with played() as server:
        yield server


@pytest.fixture
def jobs(server: Server, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    open_detector("starter")  # loaded once, and not by each job's process
    settings.label_studio_url = server.url
    monkeypatch.setattr(running, "get_settings", lambda: settings)
    return Jobs(settings)


def hold(server: Server, rows: list[dict[str, Any]]) -> None:
    """What the project has; it is listed whenever it is asked for."""
    info = {"label_config": CONFIG, "task_number": len(rows), "total_annotations_number": len(rows)}
    server.answers["/api/projects/1/"] = [Answer(body=json.dumps(info).encode())]
    server.answers["/api/tasks?"] = [Answer(body=json.dumps({"tasks": rows, "total": len(rows)}).encode())]


def annotated(number: int, *result: Any) -> dict[str, Any]:
    return {"id": number, "data": GOOD, "annotations": [{"result": list(result), "completed_by": 1}]}


def test_nothing_is_trained_where_most_annotations_cannot_be_used(server: Server, jobs: Jobs) -> None:
    hold(server, [annotated(1, region()), *(annotated(k, region(rectanglelabels=["Gone"])) for k in (2, 3))])
    job, _ = jobs.enqueue("train", 1)
    worker(jobs).work(burst=True)
    seen = describe(job)
    assert seen["status"] == "failed"
    assert "nothing is trained, for fewer than 50% of the annotated images can be used: 2 of 3" in seen["error"]
    assert "'Gone', which the config does not have (was it renamed? put predicted_values='Gone'" in seen["error"]
    assert "(tasks 2, 3)" in seen["error"]


def test_nothing_is_published_where_most_images_cannot_be_looked_at(server: Server, jobs: Jobs) -> None:
    broken: list[Any] = [["a.png", "b.png"], None, "data:image/png;base64,AAAA", "ftp://host/a.png"]
    rows = [{"id": k, "data": {"image": image}, "annotations": []} for k, image in enumerate([picture(), *broken], 1)]
    hold(server, rows)
    job, _ = jobs.enqueue("rank", 1)
    worker(jobs).work(burst=True)
    seen = describe(job)
    assert seen["status"] == "failed"
    assert "only 1 of 3 images of project 1 could be looked at" in seen["error"]  # two tasks name none
    assert any("task 2 has no image: its data holds a list" in line for line in seen["log"])


def test_a_config_that_is_changed_in_the_middle_of_a_cycle_costs_a_second_look(server: Server, jobs: Jobs) -> None:
    hold(server, [{"id": k, "data": {"image": picture()}, "annotations": []} for k in (1, 2)])
    (before,) = server.answers["/api/projects/1/"]
    shapes = CONFIG.replace('value="Car"', 'value="Car" predicted_values="disc"')
    after = Answer(body=before.body.replace(json.dumps(CONFIG).encode(), json.dumps(shapes).encode()))
    server.answers["/api/projects/1/"] = [before, before, after]  # of the survey, the scan, and those that follow
    head, _ = jobs.enqueue("rank", 1)
    worker(jobs).work(burst=True)
    parts = {job.meta["kind"]: describe(job) for job in Graph.of(head).jobs()}
    assert any("was changed meanwhile: looking at 2 images again" in line for line in describe(head)["log"])
    assert "publish" in parts, parts["rank"]["error"]  # the ranking was made


def test_a_version_that_shows_nothing_says_so_in_the_log_of_its_ranking(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    work = ProjectWork(1, settings, Jobs(settings), Progress(None, {"rank": 1}))
    config = CONFIG.replace('value="Car"', 'value="Car" predicted_values="disc"')
    work.info = {"label_config": config}
    version = store_of(settings, 1).add_first(open_detector("starter"), {})
    with caplog.at_level(logging.INFO):
        line = ranking._remark(work, version, [(1, "a.png", 0.2, []), (2, "b.png", 0.1, [])])
    assert 'model_score_threshold="0.2"' in line
    assert line in caplog.text
    work.__dict__.pop("config")
    work.info = {"label_config": CONFIG}
    assert "no class of the detector is a label" in ranking._remark(work, version, [])

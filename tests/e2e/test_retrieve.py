""" "Retrieve predictions" over many tasks, inside Label Studio's 100 seconds."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable

from tests.e2e.conftest import Project, until

MANY = int(os.environ.get("RETRIEVE_TASKS", "600"))  # more than the backend answers at once, and than a page holds


def test_many_tasks_are_each_stored_once(make_project: Callable[..., Project]) -> None:
    project = make_project("retrieve", images=20)
    uploads = [task.data for task in project.studio.tasks(project.id)]
    more = [{"data": uploads[k % len(uploads)]} for k in range(MANY - len(uploads))]
    project.studio.call("POST", f"/api/projects/{project.id}/import", json=more)
    project.connect()
    assert project.wait("rank")["result"]["predicted"] == MANY
    name = project.live().model_version
    assert project.studio.model_versions(project.id) == {name: MANY}

    project.retrieve()  # all are there: nothing is stored twice
    assert project.studio.model_versions(project.id) == {name: MANY}

    project.studio.delete_predictions(project.id, name)
    start = time.monotonic()
    project.retrieve()
    until(100, lambda: project.studio.model_versions(project.id).get(name) == MANY, f"{MANY} predictions")
    seconds = time.monotonic() - start
    print(f"retrieved {MANY} predictions in {seconds:.1f} s")
    assert seconds < 100
    counts = Counter(p["task"] for p in project.predictions())
    assert len(counts) == MANY
    assert set(counts.values()) == {1}


def test_tasks_that_nobody_predicted_are_handed_to_the_worker(make_project: Callable[..., Project]) -> None:
    project = make_project("hand over", images=4)
    project.connect()
    project.wait("rank")
    name = project.live().model_version
    uploads = [task.data for task in project.studio.tasks(project.id)]
    more = [{"data": uploads[k % 4]} for k in range(36)]
    project.studio.call("POST", f"/api/projects/{project.id}/import", json=more)
    project.retrieve()
    until(120, lambda: project.studio.model_versions(project.id).get(name) == 40, "40 predictions")
    assert set(Counter(p["task"] for p in project.predictions()).values()) == {1}

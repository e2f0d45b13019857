"""A project that is connected before it has a task: create, connect, import."""

from __future__ import annotations

from collections.abc import Callable

from backend.label_studio.client import ORDERED
from tests.e2e.conftest import Project, until


def test_tasks_that_come_after_connecting_are_served_in_order(make_project: Callable[..., Project]) -> None:
    project = make_project("empty at first", images=0)
    project.connect()
    done = project.wait("rank")
    assert done["result"]["predicted"] == 0
    assert project.info()["sampling"] == ORDERED
    name = project.live().model_version
    assert project.connect() == []  # nothing to set yet, and no error

    project.annotator.upload(project.id, project.annotator.truth.images[:12])

    def ordered() -> bool:
        """Two requests import the tasks: where the first ranking begins between them, a second one follows it."""
        jobs = (
            project.jobs.head(project.id),
            project.jobs.following(project.id),
            project.jobs.active("predict", project.id),
        )
        return project.live().model_version != name and jobs == (None, None, None)

    until(100, ordered, "the imported tasks to be ordered")
    order = project.order()
    assert len(order) == 12
    until(10, lambda: project.info()["model_version"] == project.live().model_version, "the order to be shown")
    assert project.served(12) == order

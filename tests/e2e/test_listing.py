"""Listing tasks while people work, and on a server that caps its pages: every task once, none missed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from backend.commands.local import LocalStack
from backend.label_studio import client
from backend.label_studio.client import Studio, StudioAway
from backend.project.review.labeled import labeled_among
from tests.e2e.conftest import Project
from tests.faults import Answer, Before, FaultyProxy, Replace

LISTING = r"^/api/tasks\?"


@pytest.fixture
def proxy(stack: LocalStack) -> Iterator[FaultyProxy]:
    with FaultyProxy(stack.label_studio_url) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: FaultyProxy, stack: LocalStack) -> Studio:
    return Studio(proxy.url, stack.token)


@pytest.fixture
def made(make_project: Callable[..., Project], monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(client, "PAGE", 4)
    return make_project("listing", images=12)


def test_a_capped_page_is_not_taken_for_the_last(made: Project, proxy: FaultyProxy, through: Studio) -> None:
    proxy.next(100, "GET", LISTING, Replace("page_size=4", "page_size=3"))
    assert [task.id for task in through.tasks(made.id)] == sorted(made.annotator.by_task)
    assert proxy.count("GET", LISTING) == 4


def test_nothing_is_read_twice_or_missed_while_tasks_come_and_go(
    made: Project, proxy: FaultyProxy, through: Studio
) -> None:
    tasks = sorted(made.annotator.by_task)
    proxy.next(1, "GET", LISTING, Before(lambda: None))
    proxy.next(1, "GET", LISTING, Before(lambda: made.studio.call("DELETE", f"/api/tasks/{tasks[0]}/")))
    assert [task.id for task in through.tasks(made.id)] == tasks


def test_nothing_is_read_twice_or_missed_while_people_annotate(
    made: Project, proxy: FaultyProxy, through: Studio
) -> None:
    """The list of annotated tasks grows at its beginning between two pages."""
    tasks = sorted(made.annotator.by_task)
    for task in tasks[2:9]:
        made.annotator.label(task)
    proxy.next(1, "GET", LISTING, Before(lambda: None))
    proxy.next(1, "GET", LISTING, Before(lambda: made.annotator.label(tasks[0])))
    found = [task.id for task in through.annotated(made.id)]
    assert found == tasks[2:9]


def test_annotations_that_label_studio_forgot_to_count_are_found(
    made: Project, stack: LocalStack, through: Studio
) -> None:
    """An import of predictions writes the counts of its tasks as they were when it began: an annotation that was
    submitted meanwhile is stored, but its task says 0 from then on. Tasks with several annotations come once."""
    tasks = sorted(made.annotator.by_task)
    for task in [*tasks[:6], *tasks[:6], tasks[0]]:
        made.annotator.label(task)
    database = stack.directory / "label-studio" / "label_studio.sqlite3"
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute("UPDATE task SET total_annotations = 0 WHERE id = ?", (tasks[1],))
    assert labeled_among(through, made.id, tasks[:2] + tasks[-2:]) == set(tasks[:2])
    listed = list(through.annotated(made.id))
    assert [task.id for task in listed] == tasks[:6]
    assert [len(task.annotations) for task in listed] == [3, 2, 2, 2, 2, 2]


def test_a_list_that_never_comes_ends_in_one_line(made: Project, proxy: FaultyProxy, through: Studio) -> None:
    proxy.next(100, "GET", LISTING, Answer(200, '{"tasks": [], "total": 12}'))
    with pytest.raises(StudioAway, match="12 tasks follow task 0, but lists none"):
        list(through.tasks(made.id))
    assert proxy.count("GET", LISTING) == client.LISTINGS


def test_tasks_are_told_apart_by_whose_predictions_they_hold(made: Project, studio: Studio) -> None:
    tasks = sorted(made.annotator.by_task)
    rows = [
        {"task": task, "result": [], "score": 0.25, "model_version": name}
        for task, name in [(tasks[0], "v1-r001"), (tasks[1], "v1-r002"), (tasks[1], "v1-r002")]
    ]
    studio.import_predictions(made.id, rows, len(rows))
    assert [task.id for task in studio.without_prediction(made.id, "v1-r002")] == [tasks[0], *tasks[2:]]
    held = list(studio.predictions(made.id, "v1-r002"))
    assert [(one.task, one.score, one.regions) for one in held] == [(tasks[1], 0.25, 0)] * 2
    studio.delete_prediction(held[1].id)
    assert list(studio.predictions(made.id, "v1-r002")) == held[:1]

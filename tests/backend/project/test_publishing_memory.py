"""What publishing holds in memory: some hundred predictions, however many tasks there are."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from backend.label_studio.client import Studio
from backend.project.predictions import Predictions
from backend.project.publish import Publisher
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from backend.settings import Settings
from model.artefacts import Artefacts
from tests.backend.label_studio.web import TOKEN

TASKS, BYTES = 2000, 8000
NAME = "v1-r001"


class Counting(Studio):
    """A Label Studio that stores whatever it is sent, and forgets what was in it."""

    sent = 0

    def _store(self, project: int, batch: list[dict]) -> tuple[int, list[int]]:
        del project
        self.sent += len(batch)
        return len(batch), []

    def model_versions(self, project: int) -> dict[str, int]:
        """As many as were sent."""
        del project
        return {NAME: self.sent} if self.sent else {}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.project.predictions.PART", 50)
    monkeypatch.setattr("backend.label_studio.client.IMPORT_BATCH", 50)


def rows() -> list[tuple[int, str, float, list[dict]]]:
    """Best place last, so that no order is right by chance."""
    return [(task, "a.jpg", 1 - task / TASKS, [{"id": f"{task} ", "value": "x" * BYTES}]) for task in range(TASKS)]


def test_ten_thousands_of_tasks_are_stored_and_published_a_few_at_a_time(settings: Settings) -> None:
    published = published_of(settings, 1)
    studio = Counting("http://127.0.0.1:9", TOKEN)
    publisher = Publisher(studio, 1, store_of(settings, 1), published, settle=0.0)
    one = rows()[0][3][0]
    tracemalloc.start()
    try:
        published.predictions(NAME).put(
            (task, "a.jpg", 1 - task / TASKS, [one | {"value": f"{task}".ljust(BYTES)}]) for task in range(TASKS)
        )
        publisher.bring(Publication(NAME, "v1", "entropy", 0), lambda _: None, lambda *_, **__: None)
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert studio.sent == TASKS
    assert held < TASKS * BYTES / 5


def test_rows_come_best_place_first_and_only_those_that_are_asked_for(tmp_path: Path) -> None:
    predictions = Predictions(tmp_path / "a.sqlite")
    predictions.put(row for row in rows()[:120])
    assert [task for task, *_ in predictions] == list(range(119, -1, -1))
    assert [row[0] for row in predictions.of([7, 500, 3, 119])] == [7, 3, 119]
    assert len(predictions) == 120


def test_what_is_shared_with_other_machines_is_there_whole(tmp_path: Path) -> None:
    url = f"file://{tmp_path / 'there'}"
    here, there = (Artefacts(url, tmp_path / name) for name in ("one", "two"))
    ours = Predictions(here.local / "p.sqlite", here, "p")
    ours.put(row for row in rows()[:120])
    ours.rescore((task, task / 1000) for task in range(0, 120, 2))
    theirs = Predictions(there.local / "p.sqlite", there, "p")
    for seen in (ours, theirs):
        found = {task: score for task, score, _ in seen}
        assert len(found) == 120
        assert found[2] == 0.002
        assert found[3] == 1 - 3 / TASKS
    assert not list(here.local.glob("**/.tmp-*"))

"""Ranking again: what Label Studio holds already is not imported once more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backend import plugin
from backend.jobs import running
from backend.project.boxes.unchanged import unchanged
from backend.project.predictions import Predictions
from backend.project.serving import published_of
from tests.backend.installation import CONFIG, Installation, settings_of
from tests.model.made import squares
from tests.studio import HeldProject, HeldStudio

BOX = {"id": "a", "value": {"x": 1.5}}


@pytest.fixture
def installation(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    images = squares(tmp_path / "images", 6).images
    with HeldStudio({1: HeldProject(CONFIG, {image.id: image.path for image in images[:5]})}) as studio:
        settings = settings_of(tmp_path, redis_url, studio)
        for module in (running, plugin):
            monkeypatch.setattr(module, "get_settings", lambda: settings)
        yield Installation(settings, studio)


def test_nothing_is_imported_where_nothing_changed(installation: Installation, tmp_path: Path) -> None:
    held = installation.studio.projects[1]
    assert installation.run("rank")["status"] == "finished"
    stored, live = list(held.predictions), published_of(installation.settings, 1).current()
    again = installation.run("rank")
    assert again["status"] == "finished"
    assert any("nothing is imported" in line for line in again["log"])
    assert held.predictions == stored
    now = published_of(installation.settings, 1).current()
    assert live is not None
    assert now is not None
    assert replace(now, ranked=live.ranked) == live
    assert now.ranked >= live.ranked > ""

    held.images[6] = tmp_path / "images" / "5.png"  # a new task has a place in the order
    assert installation.run("rank")["status"] == "finished"
    assert len(held.predictions) == 5 + 6
    assert held.model_version.endswith("-r002")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({1: (1, "a.jpg", 0.1, [BOX | {"id": "another"}])}, True),
        ({3: (3, "a.jpg", 1.0, [BOX])}, True),  # it is labeled: it has no place
        ({1: (1, "b.jpg", 0.1, [BOX])}, False),
        ({1: (1, "a.jpg", 0.1, [])}, False),
        ({1: (1, "a.jpg", 0.1, [BOX | {"value": {"x": 2}}])}, False),
        ({1: (1, "a.jpg", 0.9, [BOX])}, False),  # after the second
        ({1: (1, "a.jpg", 0.2, [BOX])}, False),  # beside it
        ({1: None}, False),
        ({4: (4, "a.jpg", 0.3, [BOX])}, True),  # a task that was deleted meanwhile
    ],
)
def test_what_counts_as_unchanged(tmp_path: Path, change: dict, same: bool) -> None:
    rows = {task: (task, "a.jpg", place, [BOX]) for task, place in ((1, 0.1), (2, 0.2), (3, 0.5))}
    boxes, live = Predictions(tmp_path / "seen.sqlite"), Predictions(tmp_path / "live.sqlite")
    boxes.put(rows.values())
    live.put(row for row in (rows | change).values() if row is not None)
    assert unchanged(live, boxes, [1, 2, 3], [1, 2]) is same
    live.file.write_bytes(b"damaged".ljust(5000, b"."))
    assert not unchanged(live, boxes, [1, 2, 3], [1, 2])

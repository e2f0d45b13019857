"""When a training starts by itself, in a project whose annotations were deleted meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import plugin
from backend.jobs import reconciliation, running
from backend.jobs.reconciliation import due, reconcile
from backend.queue.enqueue import Jobs
from tests.backend.installation import CONFIG, LABELED, Installation, label, settings_of
from tests.model.made import squares
from tests.studio import HeldProject, HeldStudio

EVERY = 5


@pytest.fixture
def installation(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    images = squares(tmp_path / "images", 24).images
    with HeldStudio({1: HeldProject(CONFIG, {image.id: image.path for image in images})}) as studio:
        settings = settings_of(tmp_path, redis_url, studio)
        settings.start_training_each_n_updates = EVERY
        for module in (running, plugin, reconciliation):
            monkeypatch.setattr(module, "get_settings", lambda: settings)
        yield Installation(settings, studio)


def test_annotations_count_anew_where_they_were_deleted(installation: Installation) -> None:
    held, jobs = installation.studio.projects[1], Jobs(installation.settings)
    label(held)
    assert installation.run("rank")["status"] == "finished"  # it saw them all, as a training does
    jobs.note_attempt(1, LABELED)
    every = dict(held.annotations)
    assert not due(installation.settings, jobs, 1, LABELED + EVERY - 1)
    held.annotations = dict(list(every.items())[:3])  # somebody deletes the others, or imports all tasks anew
    reconcile()
    assert jobs.last("train", 1) is None
    assert not due(installation.settings, jobs, 1, 3 + EVERY - 1)
    assert due(installation.settings, jobs, 1, 3 + EVERY)
    held.annotations = dict(list(every.items())[: 3 + EVERY])
    reconcile()
    assert jobs.last("train", 1) is not None
    jobs.note_attempt(1, 3 + EVERY)  # the training has begun, and fails
    reconcile()
    assert not due(installation.settings, jobs, 1, 3 + 2 * EVERY - 1)
    assert due(installation.settings, jobs, 1, 3 + 2 * EVERY)


def test_an_event_that_comes_late_counts_nothing_anew(installation: Installation) -> None:
    jobs = Jobs(installation.settings)
    jobs.note_attempt(1, LABELED)
    assert not due(installation.settings, jobs, 1, 0)  # an older event, or one without a number
    assert not due(installation.settings, jobs, 1, EVERY)

"""Cleaning up ends, whatever Label Studio answers, and whatever else the project is at."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rq.job import Job, JobStatus

from backend import plugin
from backend.jobs import running
from backend.jobs.running import PAUSES
from backend.project.serving import store_of
from backend.queue.enqueue import Jobs
from backend.queue.graph import Graph
from backend.queue.job import Json, part_of
from backend.queue.progress import describe
from tests.backend.installation import CONFIG, InProcess, Installation, label, settings_of
from tests.faults import Answer, FaultyProxy
from tests.model.made import squares
from tests.studio import HeldProject, HeldStudio

EVER = 10**6


@pytest.fixture
def installation(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    images = squares(tmp_path / "images", 24).images
    with HeldStudio({1: HeldProject(CONFIG, {image.id: image.path for image in images})}) as studio:
        settings = settings_of(tmp_path, redis_url, studio)
        settings.keep_predictions = 1
        for module in (running, plugin):
            monkeypatch.setattr(module, "get_settings", lambda: settings)
        yield Installation(settings, studio)


@pytest.fixture
def proxy(installation: Installation) -> Iterator[FaultyProxy]:
    with FaultyProxy(installation.studio.url) as proxy:
        installation.settings.label_studio_url = proxy.url
        yield proxy


def cleaning(installation: Installation) -> Job:
    """The newest job that cleans up."""
    jobs = Jobs(installation.settings)
    head = jobs.last("rank", 1)
    assert head is not None
    return next(job for job in Graph.of(head).jobs() if part_of(job) == "clean_up")


def kept(installation: Installation) -> set[str]:
    """What lies on the disk of cycles."""
    return set(installation.settings.artefacts.names("1/cycles"))


def again(installation: Installation) -> None:
    """Rank once more, with another task, so that the state before it is to be deleted."""
    held = installation.studio.projects[1]
    held.images[max(held.images) + 1] = next(iter(held.images.values()))
    assert installation.run("rank")["status"] == "finished"


@pytest.mark.parametrize("status", [504, 500, 403])
def test_what_label_studio_does_not_delete_stays_nowhere_else_and_is_given_up(
    installation: Installation, proxy: FaultyProxy, status: int
) -> None:
    assert installation.run("rank")["status"] == "finished"
    proxy.next(EVER, "DELETE", "model-versions", Answer(status))
    again(installation)
    assert kept(installation) == set()
    job = cleaning(installation)
    if status == 403:  # for good
        assert job.get_status() == JobStatus.FAILED
        return
    assert job.get_status() == JobStatus.SCHEDULED
    assert job.meta["pause"] >= 60  # Label Studio may be at it still
    job.meta["tries"] = len(PAUSES)
    job.save_meta()
    jobs = Jobs(installation.settings)
    jobs.low.scheduled_job_registry.remove(job)
    jobs.low.enqueue_job(job)
    installation.work()
    assert job.get_status() == JobStatus.FAILED
    head = jobs.last("rank", 1)
    assert head is not None
    assert describe(head)["status"] == "finished"  # what people wait for


def test_versions_are_pruned_though_predictions_cannot_be_deleted(
    installation: Installation, proxy: FaultyProxy
) -> None:
    assert installation.run("rank")["status"] == "finished"
    proxy.next(EVER, "DELETE", "model-versions", Answer(403))
    store = store_of(installation.settings, 1)
    first = store.list()[0]
    old = shutil.copytree(first.path, store.root / "v0000-old")  # trained, and long ago
    about = json.loads((old / "version.json").read_text()) | {"name": old.name, "parent": "x", "number": 0}
    (old / "version.json").write_text(json.dumps(about))
    assert len(store.list()) == 2
    installation.settings.keep_versions = 1
    again(installation)
    assert [version.name for version in store.list()] == [first.name]


def test_a_cycle_that_follows_keeps_its_own_files_and_no_others(installation: Installation) -> None:
    ended = installation.run("rank", until="clean_up")
    jobs = Jobs(installation.settings)
    following, _ = jobs.enqueue("rank", 1)
    for name in ("train-of-a-cycle-that-was-cancelled", f"rank-{following.id}"):
        installation.settings.artefacts.write(f"1/cycles/{name}/x.json", b"{}")
    assert len(kept(installation)) == 3
    InProcess([jobs.low], connection=jobs.connection, serializer=Json).work(burst=True)
    assert kept(installation) == {f"rank-{following.id}"}
    assert ended["job"] != following.id


def test_a_training_that_runs_keeps_its_own_files(installation: Installation) -> None:
    label(installation.studio.projects[1])
    installation.run("rank", until="clean_up")
    jobs = Jobs(installation.settings)
    training, _ = jobs.enqueue("train", 1)
    InProcess([jobs.slow], connection=jobs.connection, serializer=Json).work(burst=True, max_jobs=1)
    (own,) = [name for name in kept(installation) if name.startswith("train-") and not name.endswith("-start")]
    InProcess([jobs.low], connection=jobs.connection, serializer=Json).work(burst=True)
    assert {name for name in kept(installation) if not name.startswith(own)} == set()
    installation.work()
    assert describe(training)["status"] == "finished"
    assert kept(installation) == set()


def test_a_training_leaves_no_second_copy_of_its_images(installation: Installation) -> None:
    label(installation.studio.projects[1])
    installation.run("train", until="survey")
    artefacts = installation.settings.artefacts
    assert not artefacts.exists("1/labeled")
    assert not [name for name in kept(installation) if name.startswith("labeled")]

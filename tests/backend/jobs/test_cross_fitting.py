"""After a cycle the new version is judged on every labeled image; nothing that people wait for waits for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from rq.job import Job, JobStatus

from backend import plugin
from backend.jobs import running
from backend.jobs.cross_fitting import _advice
from backend.project.review.verdicts import Verdict, verdicts
from backend.project.serving import store_of
from backend.project.work import ProjectWork
from backend.queue.enqueue import Jobs
from backend.queue.graph import Graph
from backend.queue.job import Json, part_of
from backend.queue.progress import Progress, describe
from tests.backend.installation import CONFIG, LABELED, InProcess, Installation, label, settings_of
from tests.model.made import squares
from tests.studio import HeldProject, HeldStudio


@pytest.fixture
def installation(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    images = squares(tmp_path / "images", 26).images
    held = HeldProject(CONFIG, {image.id: image.path for image in images})
    draw(held, 3)
    with HeldStudio({1: held}) as studio:
        settings = settings_of(tmp_path, redis_url, studio)
        settings.strategy = "two_stage"
        for module in (running, plugin):
            monkeypatch.setattr(module, "get_settings", lambda: settings)
        yield Installation(settings, studio)


def draw(held: HeldProject, boxes: int) -> None:
    """Annotators have drawn so many boxes in each of the first tasks."""
    label(held)
    for (annotation,) in held.annotations.values():
        (region,) = annotation["result"]
        values = [region["value"] | {"x": 20 + 5 * number} for number in range(boxes)]
        annotation["result"] = [region | {"value": value} for value in values]


def parts(installation: Installation) -> dict[str, Job]:
    """The jobs of the newest training, by what they do."""
    head = Jobs(installation.settings).last("train", 1)
    assert head is not None
    return {part_of(job): job for job in Graph.of(head).jobs()}


def work(installation: Installation, queue: str, jobs: int | None = None) -> None:
    """Let what waits in one queue run."""
    queues = Jobs(installation.settings)
    InProcess([getattr(queues, queue)], connection=queues.connection, serializer=Json).work(burst=True, max_jobs=jobs)


def judged(installation: Installation) -> set[str]:
    """The versions that have a verdict."""
    return set(verdicts(installation.settings.artefacts, 1))


def test_the_new_version_is_judged_after_the_cycle_has_ended(installation: Installation) -> None:
    ended = installation.run("train", until="cross_fit")
    assert ended["status"] == "finished"
    assert ended["seconds_left"] == 0
    assert ended["after"] == "cross_fit"
    assert not judged(installation)
    installation.work()
    version = ended["result"]["version"]
    verdict = verdicts(installation.settings.artefacts, 1)[version]
    assert verdict.word in ("better", "worse", "undecided")
    assert f"each of {LABELED} labeled images held out once, {3 * LABELED} boxes" in verdict.sentence
    told = describe(Job.fetch(ended["job"], Jobs(installation.settings).connection, Json))
    assert verdict.sentence in told["log"]
    assert told["after"] is None
    assert told["ended"] == ended["ended"]
    assert {job.get_status() for job in parts(installation).values()} == {JobStatus.FINISHED}
    work = ProjectWork(1, installation.settings, Jobs(installation.settings), Progress(None, {"cross-fit": 1}))
    assert "--roll-back" in _advice(work, Verdict(version, "worse", ""))
    assert not _advice(work, Verdict(version, "better", ""))
    other = store_of(installation.settings, 1).list()[0].name
    assert f"--promote {other}" in _advice(work, Verdict(other, "better", ""))
    assert not _advice(work, Verdict(other, "undecided", ""))
    assert not installation.settings.artefacts.names("1/cycles")


def test_each_version_follows_from_the_doubles_of_the_one_before(installation: Installation) -> None:
    for boxes in (3, 4):
        draw(installation.studio.projects[1], boxes)
        installation.run("train")
    store = store_of(installation.settings, 1)
    first, second = (version for version in store.list() if version.parent is not None)
    assert judged(installation) == {first.name, second.name}
    for version in (first, second):
        assert sorted(file.name for file in version.path.glob("without_*.pt")) == ["without_1.pt", "without_2.pt"]


def test_it_gives_way_to_a_training_of_any_project_and_goes_on_after_it(installation: Installation) -> None:
    installation.run("train", until="cross_fit")
    jobs = Jobs(installation.settings)
    other, _ = jobs.enqueue("train", 2)
    work(installation, "low", 1)
    assert parts(installation)["cross_fit"].get_status() == JobStatus.QUEUED
    assert not judged(installation)
    installation.work()
    assert describe(other)["status"] == "failed"  # there is no such project
    assert judged(installation)


def test_it_ends_where_the_project_is_trained_again(installation: Installation) -> None:
    first = installation.run("train", until="cross_fit")
    before = parts(installation)["cross_fit"]
    draw(installation.studio.projects[1], 4)
    Jobs(installation.settings).enqueue("train", 1)
    work(installation, "slow", 1)
    work(installation, "low", 1)
    assert before.get_status() == JobStatus.FINISHED
    assert "the next training has begun" in describe(before)["log"][-1]
    installation.work()
    newest = next(version for version in reversed(store_of(installation.settings, 1).list()))
    assert judged(installation) == {newest.name} != {first["result"]["version"]}


def test_tidying_up_after_a_ranking_leaves_what_it_needs(installation: Installation) -> None:
    installation.run("train", until="cross_fit")
    waiting = parts(installation)["cross_fit"]
    jobs = Jobs(installation.settings)
    jobs.low.remove(waiting)
    held = installation.studio.projects[1]
    held.images[max(held.images) + 1] = next(iter(held.images.values()))
    installation.run("rank")
    assert installation.settings.artefacts.names("1/cycles")
    jobs.low.push_job_id(waiting.id)
    installation.work()
    assert judged(installation)
    assert not installation.settings.artefacts.names("1/cycles")


def test_too_few_boxes_are_said_and_an_operator_can_turn_it_off(installation: Installation) -> None:
    held = installation.studio.projects[1]
    draw(held, 1)
    installation.run("train")
    said = describe(parts(installation)["cross_fit"])["log"][-1]
    assert "22 labeled images with 22 boxes are too few to call a model better" in said
    draw(held, 3)
    installation.run("train", until="cross_fit")
    installation.settings.cross_fitting = False  # it waits already
    installation.work()
    assert "CROSS_FITTING is off" in describe(parts(installation)["cross_fit"])["log"][-1]
    draw(held, 4)
    installation.run("train")
    assert "cross_fit" not in parts(installation)
    assert not judged(installation)

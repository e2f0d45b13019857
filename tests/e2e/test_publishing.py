"""Publishing through a Label Studio that fails: no order is lost, none is half live, nothing is predicted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from backend.commands.doctor import Finding, examine
from backend.commands.local import LocalStack
from backend.label_studio import client
from backend.label_studio.client import ORDERED, Studio, StudioAway, StudioError
from backend.project.publish import Publisher, items
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from backend.project.shown import compare, mend
from backend.settings import Settings
from model.detectors.open import open_detector
from model.progress import silent
from tests.e2e.conftest import TRAINING, Project
from tests.faults import HTML, Answer, Close, FaultyProxy

PROJECT = r"/api/projects/\d+/$"
IMPORT = "/import/predictions$"
VERSIONS = "/model-versions/$"


@dataclass
class Desk:
    """A project, and a publisher that reaches Label Studio through a proxy that fails."""

    made: Project
    proxy: FaultyProxy
    publisher: Publisher
    settings: Settings
    version: str
    said: list[str]

    def rank(self, name: str, offset: int = 0) -> Publication:
        """Predictions under a name: the order is by id, begun at `offset`."""
        tasks = sorted(self.made.annotator.by_task)
        order = tasks[offset:] + tasks[:offset]
        rows: list[tuple[int, str, float, list[dict]]] = [
            (task, "an image", (place + 0.5) / len(order), []) for place, task in enumerate(order)
        ]
        predictions = self.publisher.published.predictions(name)
        predictions.delete()
        predictions.put(rows)
        return Publication(name, self.version, "entropy", 0)

    def publish(self, publication: Publication) -> None:
        self.publisher.bring(publication, self.said.append, silent)
        self.publisher.switch(publication, self.said.append)

    def late_task(self) -> int:
        """A task that comes after the ranking."""
        data = next(self.made.studio.tasks(self.made.id)).data
        self.made.studio.call("POST", f"/api/projects/{self.made.id}/import", json=[{"data": data}])
        return max(task.id for task in self.made.studio.tasks(self.made.id))

    def held(self, name: str) -> dict[int, float]:
        """The score of each task under a name; each task has one."""
        rows = [p for p in self.made.predictions() if p["model_version"] == name]
        assert set(Counter(p["task"] for p in rows).values()) <= {1}
        return {p["task"]: p["score"] for p in rows}

    def shown(self) -> tuple[str, str]:
        info = self.made.info()
        return info["model_version"], info["sampling"]

    def live(self) -> str | None:
        current = self.publisher.published.current()
        return current.model_version if current else None


@pytest.fixture
def desk(
    stack: LocalStack, make_project: Callable[..., Project], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    monkeypatch.setattr(client, "IMPORT_BATCH", 4)
    made = make_project("publishing", images=10)
    with FaultyProxy(stack.label_studio_url) as proxy:
        settings = stack.settings(**TRAINING, MODEL_DIR=str(tmp_path))  # no worker looks there
        store, published = store_of(settings, made.id), published_of(settings, made.id)
        version = store.add_first(open_detector("starter"), {}).name
        publisher = Publisher(Studio(proxy.url, stack.token), made.id, store, published, settle=0.1)
        yield Desk(made, proxy, publisher, settings, version, [])


def test_a_publication_goes_on_where_it_stopped(desk: Desk) -> None:
    publication = desk.rank("v1-r001")
    desk.proxy.next(100, "POST", IMPORT, Answer(503))
    desk.made.studio.import_predictions(
        desk.made.id, items(list(desk.publisher.published.predictions("v1-r001"))[:4], "v1-r001"), 4
    )
    with pytest.raises(StudioAway, match="503"):
        desk.publish(publication)
    assert desk.live() is None
    before = {p["id"] for p in desk.made.predictions()}

    desk.proxy.clear()
    desk.publish(publication)
    assert desk.held("v1-r001") == {task: score for task, score, _ in desk.publisher.published.predictions("v1-r001")}
    assert before < {p["id"] for p in desk.made.predictions()}
    assert "4 of 10 predictions are in Label Studio already" in desk.said
    assert desk.shown() == ("v1-r001", ORDERED)
    assert desk.live() == "v1-r001"

    late = {"task": desk.late_task(), "result": [], "score": 0.5, "model_version": "v1-r001"}
    desk.made.studio.import_predictions(desk.made.id, [late], 1)
    desk.publish(publication)  # once more: others add to what is live
    assert len(desk.held("v1-r001")) == 11


@pytest.mark.parametrize("fault", [Answer(504, late=True), Close(late=True), replace(HTML, late=True)])
def test_an_import_whose_answer_is_lost_is_not_done_twice(desk: Desk, fault: Answer | Close) -> None:
    desk.proxy.next(1, "POST", IMPORT, fault)
    desk.publish(desk.rank("v1-r001"))
    assert len(desk.held("v1-r001")) == 10
    assert desk.proxy.count("POST", IMPORT) == 3  # 4, 4 and 2 tasks
    assert desk.shown() == ("v1-r001", ORDERED)


def test_what_another_ranking_left_under_the_name_is_replaced(desk: Desk) -> None:
    desk.rank("v1-r001", offset=3)
    left = list(items(list(desk.publisher.published.predictions("v1-r001"))[:6], "v1-r001"))
    desk.made.studio.import_predictions(desk.made.id, left + left[:1], 7)
    desk.publish(desk.rank("v1-r001"))
    assert desk.held("v1-r001") == {task: score for task, score, _ in desk.publisher.published.predictions("v1-r001")}
    assert any("deleting 7 of an earlier ranking" in line for line in desk.said)


def test_a_refused_switch_leaves_the_old_state_on_both_sides(desk: Desk) -> None:
    desk.publish(desk.rank("v1-r001"))
    desk.proxy.next(1, "PATCH", PROJECT, Answer(403))
    with pytest.raises(StudioError, match="403"):
        desk.publish(desk.rank("v1-r002", offset=5))
    assert desk.live() == "v1-r001"
    assert desk.shown() == ("v1-r001", ORDERED)

    desk.publish(desk.rank("v1-r002", offset=5))
    assert desk.live() == "v1-r002"
    assert desk.made.served(3) == sorted(desk.made.annotator.by_task)[5:8]


def test_a_switch_whose_answer_is_lost_is_mended_either_way(desk: Desk) -> None:
    desk.publish(desk.rank("v1-r001"))
    desk.proxy.next(1, "PATCH", PROJECT, Answer(504, late=True))
    with pytest.raises(StudioAway):
        desk.publish(desk.rank("v1-r002"))
    assert (desk.live(), desk.shown()[0]) == ("v1-r001", "v1-r002")
    line = mend(desk.publisher.studio, desk.made.id, desk.publisher.published)
    assert line == f"project {desk.made.id} in Label Studio: model_version is 'v1-r002' and not 'v1-r001': set right"
    assert desk.shown() == ("v1-r001", ORDERED)
    desk.publish(desk.rank("v1-r002"))
    assert (desk.live(), desk.shown()[0]) == ("v1-r002", "v1-r002")


def test_nothing_is_deleted_by_publishing(desk: Desk) -> None:
    for name in ("v1-r001", "v1-r002", "v1-r003"):
        desk.publish(desk.rank(name))
    assert desk.proxy.count("DELETE", "") == 0
    assert desk.publisher.clean_up(2, 5, desk.said.append) == 0
    assert desk.made.studio.model_versions(desk.made.id) == {"v1-r002": 10, "v1-r003": 10}
    assert [entry.model_version for entry in desk.publisher.published.history()] == ["v1-r002", "v1-r003"]
    assert desk.shown() == ("v1-r003", ORDERED)


def test_cleaning_up_waits_for_a_deletion_that_goes_on_behind_a_proxy(desk: Desk) -> None:
    for name in ("v1-r001", "v1-r002"):
        desk.publish(desk.rank(name))
    desk.proxy.next(1, "DELETE", VERSIONS, Answer(504))
    assert desk.publisher.clean_up(1, 5, desk.said.append) > 0
    assert len(desk.publisher.published.history()) == 2
    assert any("still deleting v1-r001" in line for line in desk.said)
    desk.proxy.next(1, "DELETE", VERSIONS, Answer(504, late=True))
    assert desk.publisher.clean_up(1, 5, desk.said.append) == 0
    assert [entry.model_version for entry in desk.publisher.published.history()] == ["v1-r002"]
    assert desk.publisher.clean_up(1, 5, desk.said.append) == 0
    assert desk.proxy.count("DELETE", VERSIONS) == 2


def test_cleaning_up_while_label_studio_is_away_is_put_off(desk: Desk) -> None:
    for name in ("v1-r001", "v1-r002"):
        desk.publish(desk.rank(name))
    desk.proxy.next(1, "GET", PROJECT, Answer(500))
    assert desk.publisher.clean_up(1, 5, desk.said.append) > 0
    assert len(desk.publisher.published.history()) == 2


def test_what_people_change_in_settings_is_set_right(desk: Desk) -> None:
    studio, project, published = desk.publisher.studio, desk.made.id, desk.publisher.published
    assert compare(studio, project, published) is None
    desk.publish(desk.rank("v1-r001"))
    desk.publish(desk.rank("v1-r002"))
    assert compare(studio, project, published) is None
    assert mend(studio, project, published) is None
    changed = {"sampling": "Sequential sampling", "model_version": "v1-r001"}
    studio.call("PATCH", f"/api/projects/{project}/", json=changed)
    difference = compare(studio, project, published)
    assert difference is not None
    (found,) = [finding for finding in examine(desk.settings) if finding.what.startswith("project")]
    assert not found.well
    assert found.said.startswith("in Label Studio sampling is 'Sequential sampling' and not 'Uncertainty sampling', ")
    assert found.said.endswith(f"`mgral connect {project}` sets it right")
    assert difference.settings == {
        "sampling": (ORDERED, "Sequential sampling"),
        "model_version": ("v1-r002", "v1-r001"),
    }
    line = mend(studio, project, published)
    assert line is not None
    assert line.endswith("model_version is 'v1-r001' and not 'v1-r002': set right")
    assert desk.shown() == ("v1-r002", ORDERED)
    assert Finding(f"project {project}", True, "shows v1-r002") in examine(desk.settings)


def test_predictions_that_somebody_deleted_are_told_and_shown_once_they_are_back(desk: Desk) -> None:
    studio, project, published = desk.publisher.studio, desk.made.id, desk.publisher.published
    desk.publish(desk.rank("v1-r001"))
    studio.delete_predictions(project, "v1-r001")
    line = mend(studio, project, published)
    assert line is not None
    assert "10 predictions of v1-r001 are missing" in line
    assert 'the job "predict" puts back' in line
    batch = list(items(published.predictions("v1-r001"), "v1-r001"))[:7]
    studio.import_predictions(project, [*batch, *batch[:2]], 9)  # two of them twice, three not at all
    line = mend(studio, project, published)
    assert line is not None
    assert "3 predictions of v1-r001 are missing, 2 predictions of v1-r001 are double: set right" in line
    assert len(desk.held("v1-r001")) == 7
    assert desk.shown() == ("v1-r001", ORDERED)

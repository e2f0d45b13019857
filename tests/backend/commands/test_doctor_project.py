"""`mgral doctor PROJECT`: one line for each thing that can be wrong with a project, with the remedy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from backend.commands.doctor_project import ProjectCheck
from backend.label_studio.labels import LabelConfig
from backend.project.boxes.outdated import asked_for
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from backend.settings import Settings
from model.detectors.open import open_detector
from tests.backend.label_studio.web import Answer, Server, running
from tests.backend.project.test_dataset import picture, region
from tests.backend.web.requests import CONFIG

GOOD = {"image": picture()}


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


def said(
    server: Server,
    settings: Settings,
    config: str = CONFIG,
    tasks: list[dict] | None = None,
    results: list[Any] | None = None,
) -> dict[str, tuple[bool, str]]:
    """What each check says of such a project, by what it looks at."""

    def answer(body: Any) -> Answer:
        return Answer(body=json.dumps(body).encode())

    rows = [{"id": k, "data": data} for k, data in enumerate([GOOD, GOOD] if tasks is None else tasks, 1)]
    annotated = [
        {"id": k, "data": GOOD, "annotations": [{"result": result, "completed_by": 1}]}
        for k, result in enumerate(results or [], 1)
    ]
    server.answers["/api/projects/1/"] = [answer({"label_config": config, "task_number": len(rows)})]
    server.answers["/api/tasks?"] = [answer({"tasks": r, "total": len(r)}) for r in (rows, annotated)]
    there = settings.model_copy(update={"label_studio_url": server.url})
    return {one.what.partition(" ")[0]: (one.well, one.said) for one in ProjectCheck(there, 1).all()}


def test_a_project_that_is_well(server: Server, settings: Settings) -> None:
    assert said(server, settings, results=[[region()], []]) == {
        "config": (True, "labels Car, Bus on 'image'"),
        "tasks": (True, "2 tasks, each with an address under 'image'"),
        "pictures": (True, "2 of 2 were read, 200 x 100 to 200 x 100 pixels"),
        "annotations": (True, "2 annotated images with 1 boxes, 1 submitted empty and learned as background"),
        "costs": (
            True,
            (
                "an annotation is taken to cost 6 s and 7 s a box, until 20 annotations tell how long they took (0 do)"
                "; the order saves images (BUDGET_IN=minutes makes use of it)"
            ),
        ),
        "project": (True, "nothing is live yet"),
    }


def test_each_thing_that_is_wrong_is_named_and_the_others_are_checked_all_the_same(
    server: Server, settings: Settings
) -> None:
    found = said(
        server,
        settings,
        tasks=[GOOD, {"image": [1]}, {"text": "x"}, {"image": "data:image/png;base64,AAAA"}],
        results=[[region(rectanglelabels=["Gone"])], [region(x=None)], [region()]],
    )
    assert not any(found[what][0] for what in ("tasks", "pictures", "annotations"))
    assert "4 tasks, 2 of them without an image: task 2 has no image: its data holds a list" in found["tasks"][1]
    assert found["pictures"][1].startswith("1 of 2 cannot be read: ")
    assert "2 of 3 annotated images are left out" in found["annotations"][1]
    assert "predicted_values='Gone'" in found["annotations"][1]
    assert found["config"][0]


def test_a_config_that_cannot_be_served(server: Server, settings: Settings) -> None:
    found = said(server, settings, CONFIG.replace("$image", "$photo.url"))
    assert {well for well, _ in found.values()} == {False, True}
    assert "photo.url" in found["config"][1]


@pytest.mark.parametrize(
    ("changed", "remark", "wrong"),
    [
        ("", "", ""),
        ('model_score_threshold="0.4"', "", "asks for other boxes now"),
        ("", "v1 shows no box in any of 2 images", "v1 shows no box"),
    ],
)
def test_what_is_live_is_what_is_asked_for(
    server: Server, settings: Settings, changed: str, remark: str, wrong: str
) -> None:
    version = store_of(settings, 1).add_first(open_detector("starter"), {})
    store_of(settings, 1).write(version.name, "ranking.json", json.dumps({"remark": remark}).encode())
    shown_by = asked_for(LabelConfig.parse(CONFIG), version)
    live = Publication("v1-r001", version.name, "entropy", 0, shown_by, settings.model_score_threshold)
    published_of(settings, 1).publish(live)
    there = settings.model_copy(update={"label_studio_url": server.url})
    config = CONFIG.replace('toName="image">', f'toName="image" {changed}>')
    info = {"label_config": config, "task_number": 0, "sampling": "Uncertainty sampling", "model_version": "v1-r001"}
    server.answers["/api/projects/1/"] = [Answer(body=json.dumps(info).encode())]
    server.answers["/api/projects/1/model-versions/"] = [Answer(body=b"{}")]
    server.answers["/api/tasks?"] = [Answer(body=b'{"tasks": [], "total": 0}')]
    config_line, finding = ProjectCheck(there, 1).few()
    assert "no class of the detector is a label of the project" in config_line.said
    assert finding.well is not bool(wrong)
    assert wrong in finding.said

"""The loop as people live it, on a real Label Studio, Redis, backend and worker."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing

import pytest
import requests

from agent.costs import FEWEST
from backend.commands.doctor import examine
from backend.commands.local import LocalStack
from backend.label_studio.client import ORDERED, Studio
from backend.project.connect import TAB
from backend.project.publish import Publisher
from backend.project.serving import published_of, store_of
from backend.queue.progress import describe
from backend.settings import Settings
from tests.e2e.conftest import AUTO_RETRAIN, SHAPES, TRAINING, Project, until


def mgral(stack: LocalStack, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "backend.cli", *arguments],
        env=stack.environment(**TRAINING),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def test_connect_sets_everything_up_once(stack: LocalStack, make_project: Callable[..., Project]) -> None:
    project = make_project("connect", images=4)
    first = mgral(stack, "connect", str(project.id), "--backend-url", stack.backend_url)
    assert first.returncode == 0, first.stderr
    for expected in ("added the backend", "authorization header", "sampling", TAB, "first ranking"):
        assert expected in first.stdout

    project.wait("rank")
    (hook,) = project.studio.call("GET", "/api/webhooks/", params={"project": project.id})
    assert hook["headers"]["Authorization"].startswith("Basic ")
    assert project.info()["sampling"] == ORDERED
    assert project.info()["model_version"] == project.live().model_version

    again = mgral(stack, "connect", str(project.id), "--backend-url", stack.backend_url)
    assert again.returncode == 0
    assert "nothing to change" in again.stdout
    views = project.studio.call("GET", "/api/dm/views", params={"project": project.id})
    assert [view["data"]["title"] for view in views].count(TAB) == 1


def test_a_project_without_rectangles_is_refused_in_one_line(stack: LocalStack, studio: Studio) -> None:
    config = '<View><Text name="t" value="$text"/><Choices name="c" toName="t"><Choice value="a"/></Choices></View>'
    made = studio.call("POST", "/api/projects", json={"title": "text", "label_config": config})
    refused = mgral(stack, "connect", str(made["id"]), "--backend-url", stack.backend_url)
    assert refused.returncode == 1
    assert "RectangleLabels" in refused.stderr
    assert "Choices" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1


def card(stack: LocalStack, project: Project) -> str:
    """The title of the backend in Settings, Model. Not over HTTP, where each look has Label Studio write the whole row,
    an older title with it."""
    with closing(sqlite3.connect(stack.directory / "label-studio/label_studio.sqlite3", timeout=30)) as tables:
        (title,) = tables.execute("SELECT title FROM ml_mlbackend WHERE project_id = ?", (project.id,)).fetchone()
    return title


def test_label_train_and_get_tasks_in_order(make_project: Callable[..., Project], stack: LocalStack) -> None:
    project = make_project("loop")
    project.connect()
    cold = project.wait("rank")
    assert cold["result"]["strategy"] == "kmeanspp"  # nothing is labeled: coverage
    order = project.order()
    served = [project.annotator.label_next(project.id) for _ in range(10)]
    assert served == order[:10]

    before = project.live()
    project.start_training()
    until(60, lambda: card(stack, project).startswith("MGRAL · training "), "the card to say what runs")
    done = project.wait("train")
    live = project.live()
    assert live.model_version != before.model_version
    until(60, lambda: card(stack, project).startswith(f"MGRAL · {live.version[:5]}, "), "the card to say what serves")
    assert done["result"]["predicted"] == 16
    assert set(done["stages"]) >= {"fetch", "train", "scan", "rank", "import"}
    assert any("mAP" in line or "holdout" in line or "comparison" in line for line in done["log"])
    assert any(f"until {FEWEST} annotations tell how long they took (10 do)" in line for line in done["log"])
    costs = json.loads(store_of(project.settings, project.id).read(live.version, "ranking.json"))["costs"]
    assert (costs["annotations"], costs["annotators"], costs["learned"]) == (10, 1, False)
    assert project.info()["model_version"] == live.model_version
    assert project.studio.model_versions(project.id)[live.model_version] == 16

    asked = requests.post(
        f"{stack.backend_url}/job_status",
        json={"job": done["job"]},
        auth=(TRAINING["BASIC_AUTH_USER"], TRAINING["BASIC_AUTH_PASS"]),
        timeout=5,
    )
    assert asked.json()["job_status"] == "finished"

    order = project.order()
    assert sorted(order) == sorted(set(project.annotator.by_task) - set(served))
    assert [project.annotator.label_next(project.id) for _ in range(len(order))] == order


def test_two_annotators_in_turn_get_different_tasks_in_order(
    make_project: Callable[..., Project], stack: LocalStack
) -> None:
    project = make_project("two annotators")
    project.connect()
    project.wait("rank")
    second = _second_user(stack, project.studio)
    order = project.order()
    served = []
    for _ in range(4):
        mine = int(project.annotator.next_task(project.id)["id"])
        theirs = int(second.call("GET", f"/api/projects/{project.id}/next")["id"])
        assert mine != theirs
        served += [mine, theirs]
        project.annotator.label(mine)
        result = project.annotator.result(theirs)
        second.call("POST", f"/api/tasks/{theirs}/annotations/", json={"result": result})
    assert served == order[:8]


@pytest.fixture(scope="module")
def trained(make_project: Callable[..., Project]) -> Project:
    """A project with a first version and a trained one, the last six of its order labeled."""
    project = make_project("roll back", images=20)
    project.connect()
    project.wait("rank")
    for task in project.order()[-6:]:
        project.annotator.label(task)
    project.start_training()
    project.wait("train")
    return project


def test_roll_back_brings_back_boxes_and_order(trained: Project, stack: LocalStack) -> None:
    project, store = trained, store_of(trained.settings, trained.id)
    first = store.list()[0].name
    cold_order = json.loads(store.read(first, "ranking.json"))["order"]
    if project.live().version == first:  # six steps may well be worse: kept, not promoted
        store.promote(store.list()[-1].name)
    done = mgral(stack, "versions", str(project.id), "--roll-back")
    assert done.returncode == 0, done.stderr
    assert project.live().version == first
    assert project.info()["model_version"] == project.live().model_version
    shown = mgral(stack, "versions", str(project.id)).stdout
    assert f"* {first}" in shown
    assert project.order() == cold_order
    assert project.served(10) == cold_order[:10]  # the last six of it are labeled


def test_a_version_that_is_chosen_by_hand_during_a_training_stays(trained: Project) -> None:
    project, store = trained, store_of(trained.settings, trained.id)
    serving = store.serving()
    assert serving is not None
    chosen = next(version for version in store.list() if version.name != serving.name)
    project.start_training()
    head = project.jobs.last("train", project.id)
    assert head is not None
    until(60, lambda: describe(head)["stage"] in ("train", "evaluate"), "the training to have begun with what serves")
    with project.jobs.exclusive(project.id):  # nothing is made live meanwhile
        store.promote(chosen.name)
        publisher = Publisher(project.studio, project.id, store, published_of(project.settings, project.id))
        publisher.show(chosen, 0, project.jobs)
    done = project.wait("train")
    if done["result"]["promoted"]:  # by the training, which may not overrule who chose by hand
        assert done["result"]["model_version"] is None
        assert any(f"somebody let {chosen.name} serve" in line for line in done["log"])
    else:  # the tasks are ordered anew for the version that was chosen
        assert done["result"]["model_version"].startswith(chosen.name)
    assert project.live().version == chosen.name
    assert project.info()["model_version"] == project.live().model_version


def test_training_starts_by_itself_after_enough_annotations(make_project: Callable[..., Project]) -> None:
    project = make_project("auto", images=40)
    project.connect()
    project.wait("rank")
    tasks = list(project.annotator.by_task)
    for task in tasks[: AUTO_RETRAIN - 1]:
        project.annotator.label(task)
    assert project.jobs.last("train", project.id) is None
    project.annotator.label(tasks[AUTO_RETRAIN - 1])
    project.wait("train")
    assert project.live().annotations >= AUTO_RETRAIN


def test_new_tasks_are_predicted_and_join_the_order(make_project: Callable[..., Project]) -> None:
    project = make_project("new tasks", images=4)
    project.connect()
    project.wait("rank")
    project.annotator.upload(project.id, project.annotator.truth.images[4:12])
    name = project.live().model_version
    until(120, lambda: project.studio.model_versions(project.id).get(name) == 12, "12 predictions")
    assert max(Counter(p["task"] for p in project.predictions()).values()) == 1
    assert all(0 <= p["score"] <= 1 for p in project.predictions())


def test_broken_images_cost_only_themselves(make_project: Callable[..., Project]) -> None:
    project = make_project("broken", images=5)
    project.studio.call(
        "POST", f"/api/projects/{project.id}/import", files=[("bad.jpg", ("bad.jpg", b"this is no picture"))]
    )
    project.studio.call(
        "POST", f"/api/projects/{project.id}/import", json=[{"data": {"image": "/data/upload/1/gone.jpg"}}]
    )
    project.connect()
    done = project.wait("rank")
    assert done["result"]["predicted"] == 5
    left_out = [line for line in done["log"] if line.startswith("left out")]
    assert len(left_out) == 2
    assert any("cannot be decoded" in line for line in left_out)
    assert any("gone.jpg" in line and "answered" in line for line in left_out)


def test_training_without_labels_says_so_and_leaves_the_order(
    make_project: Callable[..., Project], stack: LocalStack
) -> None:
    project = make_project("nothing labeled", images=4)
    project.connect()
    project.wait("rank")
    live = project.live()
    project.start_training()
    job = project.jobs.last("train", project.id)
    assert job is not None
    until(60, lambda: job.get_status().value == "failed", "the training to fail")
    assert "no boxes to learn from" in job.get_meta()["error"]
    assert project.live() == live
    until(60, lambda: "failed: no boxes to learn from" in card(stack, project), "the card to say what to do")
    assert project.info()["model_version"] == live.model_version


def test_drawing_a_region_asks_for_the_boxes_in_it(make_project: Callable[..., Project]) -> None:
    project = make_project("interactive", images=12, config=SHAPES)
    project.connect()
    project.wait("rank")
    task, box = next((p["task"], p["result"][0]) for p in project.predictions() if p["result"])
    (backend,) = project.studio.call("GET", "/api/ml", params={"project": project.id})

    def ask(**value: float) -> list[dict]:
        region = {"from_name": "label", "to_name": "image", "type": "rectanglelabels", "value": value}
        body = {"task": task, "context": {"result": [region]}}
        answer = project.studio.call("POST", f"/api/ml/{backend['id']}/interactive-annotating", json=body)
        return answer["data"]["result"]

    side = ("x", "y", "width", "height")

    def among(answers: list[dict]) -> bool:
        """Whether the box is one of them; a picture alone and in a batch differ in the last digits."""
        return any(all(abs(a["value"][key] - box["value"][key]) < 0.5 for key in side) for a in answers)

    assert among(ask(x=0, y=0, width=100, height=100))
    assert among(ask(**{key: box["value"][key] for key in side}))
    assert ask(x=0, y=0, width=0.1, height=0.1) == []


def test_a_personal_access_token_works_too(
    stack: LocalStack, studio: Studio, make_project: Callable[..., Project]
) -> None:
    project = make_project("token", images=2)
    token = studio.call("POST", "/api/token/", json={})["token"]
    personal = Studio(stack.label_studio_url, token)
    assert personal.project(project.id)["title"] == "token"
    assert len(list(personal.tasks(project.id))) == 2
    task = next(personal.tasks(project.id))
    reply = personal.session.get(
        stack.label_studio_url + task.data["image"], headers=personal.authorization(), timeout=10
    )
    assert reply.ok


def test_doctor_is_content_and_names_what_is_not(stack: LocalStack, settings: Settings) -> None:
    findings = [finding for finding in examine(settings) if not finding.what.startswith("project")]  # others' work
    assert len(findings) >= 6
    assert all(finding.well for finding in findings), findings
    environment = stack.environment(**TRAINING) | {
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "LABEL_STUDIO_API_KEY": "0" * 40,
    }
    sick = subprocess.run(
        [sys.executable, "-m", "backend.cli", "doctor"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert sick.returncode == 1
    assert "FAIL  Redis" in sick.stdout
    assert "start Redis" in sick.stdout
    assert "FAIL  token" in sick.stdout
    assert "ok    Label Studio" in sick.stdout


def _second_user(stack: LocalStack, studio: Studio) -> Studio:
    """Sign up through the invitation link, as a colleague does."""
    link = studio.call("GET", "/api/invite")["invite_url"]
    session = requests.Session()
    page = session.get(stack.label_studio_url + link, timeout=20)
    assert page.ok
    answer = session.post(
        page.url,
        data={
            "email": "second@example.com",
            "password": "another-pass1",
            "csrfmiddlewaretoken": session.cookies["csrftoken"],
            "how_find_us": "",
        },
        headers={"Referer": page.url},
        timeout=20,
    )
    assert answer.ok, answer.text[:300]
    token = session.get(stack.label_studio_url + "/api/current-user/token", timeout=20)
    assert token.ok, token.text[:300]
    return Studio(stack.label_studio_url, token.json()["token"])

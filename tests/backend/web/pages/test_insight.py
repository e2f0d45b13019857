"""The pages of the order, corrections, the curve and the agent, over the files that jobs leave; the API under them."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from agent.gain.rows import Row, Rows
from backend.label_studio.labels import LabelConfig
from backend.project.published import Publication
from backend.project.review import cycles, reviews, verdicts
from backend.project.review.changes import Drawn, compare
from backend.project.review.cycles import trainings
from backend.project.review.order import FILE, HEAD, head_of
from backend.project.serving import published_of, store_of
from backend.settings import Settings
from backend.web.api import curve as curves
from backend.web.app import create_app
from bench.pages import PROJECT
from tests.backend.label_studio.web import PAGE, Answer, Server, running
from tests.backend.project.review.test_reviews import CORRECTED, SHOWN, one
from tests.backend.web.pages.conftest import Site
from tests.backend.web.requests import CONFIG
from tests.backend.web.test_refusals import replaced

TASKS = 700  # more than the head of the order holds
UI, API = f"/ui/projects/{PROJECT}", f"/api/projects/{PROJECT}"
COUNTS = [1, 2, 4]


def record(version: str) -> dict[str, Any]:
    """What the job "rank" leaves of mgral: tasks 1000, 999, ... in order."""
    order = [1000 - k for k in range(TASKS)]
    return {
        "model_version": f"{version}-r001",
        "strategy": "mgral",
        "asked": "mgral",
        "budget": 20,
        "order": order,
        "scores": [1 - k / TASKS for k in range(TASKS)],
        "reasons": [f"reason number {k}: <unlike> anything labeled" for k in range(TASKS)],
        "why": "the agent orders: mgral +0.0200 ± 0.0040 mAP, two_stage +0.0150",
        "model": "table",
        "rho": 0.41,
        "rho_interval": [0.1, 0.7],
        "rows": {"hindsight": 8},
        "copies": {"of_labeled": 0.25, "of_others": 0.5},
        "twins": 0.41,
        "counted": "doubt",
        "gains": {"two_stage": [0.015, 0.003], "mgral": [0.02, 0.004]},
        "learning_curve": [[5 * k, 0.01 + 0.001 * k] for k in range(6)],
        "table": {
            "counts": COUNTS,
            "cells": [{"images": 30, "task": 1000, "gains": [0.001, 0.002, 0.003]}],
            "classes": [{"name": "Car", "boxes": 12.0, "half": 40.0, "gains": [0.002, 0.004, 0.007]}],
        },
        "map": {"tasks": [1, 1000, 999], "x": [0.5, -1, 0.2], "y": [0, 1, -0.3], "kinds": "lnr", "explained": 0.6},
        "tasks": [
            {
                "task": task,
                "cell": 0,
                "descriptors": {"max_entropy": 2.5},
                "nearest_labeled": 1,
                "nearest_selected": 999,
            }
            for task in order[:50]
        ],
    }


def told(site: Site, path: str) -> Any:
    """What the API answers."""
    return json.loads(site.get(path))


@pytest.fixture
def insight(site: Site) -> Site:
    """The project with an order of its newest version, two trainings, corrections and measured batches."""
    settings, name = site.settings, site.versions[-1]
    store, published = store_of(settings, PROJECT), published_of(settings, PROJECT)
    made = record(name)
    store.write(name, "ranking.json", json.dumps(made).encode())
    store.write(name, FILE, json.dumps(head_of(made)).encode())
    places = {task: (k + 0.5) / TASKS for k, task in enumerate(made["order"])}
    boxes = [one("a", 10, "Car") | {"score": 0.9}]
    published.predictions(f"{name}-r001").put(
        [(task, f"/data/upload/1/{task}.png", score, boxes) for task, score in places.items()]
    )
    published.predictions(f"{name}-r001").put([(1, "/data/upload/1/1.png", 1.0, [])])
    published.publish(Publication(f"{name}-r001", name, "mgral", 30, ranked="2026-11-20T10:00:00+00:00"))
    config = LabelConfig.parse(CONFIG)
    changes = compare(Drawn.of(SHOWN, config), Drawn.of(CORRECTED, config))
    rows = [reviews.Review(task, task, "", f"{name}-r001", name, changes, task > 1, 30.0) for task in (1, 2)]
    store.write(name, reviews.FILE, reviews.Reviews(rows).to_json())
    batch = cycles.Batch("mgral", (0.02, 0.004), 20, 18, 3)
    when, gain = "2026-11-21T10:00:00+00:00", (0.025, 0.01)
    trained = cycles.Trained(name, "v1", when, 200, 900, 0.57, 0.02, 40, gain, True, 35.0, batch)
    cycles.keep(settings.artefacts, PROJECT, trained)
    phi = np.zeros((2, 1), np.float32)
    measured = [Row(np.array([1, 2]), phi, 0.02, 0.01, "hindsight", "3:hindsight", 3, ("novelty",), {"Car": 2.0})]
    Rows(measured).save(settings.artefacts.local / f"{PROJECT}/gain_rows.npz")
    return site


def test_the_first_task_stands_first_and_its_reason_is_there(insight: Site) -> None:
    page = insight.get(f"{UI}/order")
    first = page[page.index('<ol class="gallery"') :]
    assert "Task 1000" in first[: first.index("</li>")]
    assert "reason number 0: &lt;unlike&gt; anything labeled" in first[: first.index("</li>")]
    assert f"/projects/{PROJECT}/data?task=1000" in first[: first.index("</li>")]
    assert "two_stage" in page
    assert "25" in page  # percent of near-copies
    assert re.search("41.% of the images are frames of one scene with another. So an image counts for how un", page)
    order = told(insight, f"{API}/order?limit=30")
    assert [one["task"] for one in order["tasks"]] == [1000 - k for k in range(30)]
    assert (order["twins"], order["counted"]) == (0.41, "doubt")
    assert [one["in_batch"] for one in order["tasks"]] == [True] * 20 + [False] * 10
    assert [one["strategy"] for one in order["gains"]] == ["mgral", "two_stage"]
    assert (order["count"], order["listed"], order["rho"], order["measured"]) == (TASKS, HEAD, 0.41, 8)
    assert order["tasks"][0]["boxes"][0] == {"label": "Car", "score": 0.9, "x": 10, "y": 10, "width": 20, "height": 20}
    assert order["tasks"][0]["nearest_labeled"] == 1


def test_pages_of_places_end(insight: Site) -> None:
    last = insight.get(f"{UI}/order?offset={HEAD - 10}")
    assert 'rel="prev"' in last
    assert 'rel="next"' not in last
    assert "are found by their id" in last
    assert insight.get(f"{UI}/order?offset=-5").count('class="task-head"') == 24
    assert insight.get(f"{UI}/order?offset=99999").count('class="task-head"') == 0
    assert insight.client.get(f"{API}/order?limit=1000").status_code == 400


@pytest.mark.parametrize(
    ("task", "place", "reason"), [(1000, 1, "number 0:"), (301, 700, "number 699:"), (1, None, "labeled")]
)
def test_any_task_is_found_by_its_id(insight: Site, task: int, place: int | None, reason: str) -> None:
    answer = insight.client.get(f"{UI}/order?task=%23{task}")
    assert answer.status_code == 303
    page = insight.get(answer.headers["Location"])
    assert f"Task {task}" in page
    found = told(insight, f"{API}/order/{task}")
    assert found["place"] == place
    assert reason in found["reason"]
    insight.get(f"{UI}/order/5000", 404)
    assert "Task 1000" in insight.get(f"{UI}/order?task=x")


def test_an_order_of_an_earlier_release_is_read_off_its_ranking(insight: Site) -> None:
    store = store_of(insight.settings, PROJECT)
    (store.root / insight.versions[-1] / FILE).unlink()
    assert told(insight, f"{API}/order")["tasks"][0]["task"] == 1000


def test_corrections_by_class_version_and_image(insight: Site) -> None:
    held = told(insight, f"{API}/corrections")
    assert held["total"] == {"kept": 2, "moved": 2, "relabeled": 2, "deleted": 2, "added": 2, "images": 2}
    assert [row["label"] for row in held["classes"]] == ["Bus", "Car"]
    assert held["confusions"] == [{"shown": "Bus", "now": "Car", "boxes": 2}]
    assert [(row["task"], row["corrections"]) for row in held["hardest"]] == [(1, 4), (2, 4)]
    assert held["by_place"] == 1
    assert [row["threshold"] for row in held["thresholds"]] == [0.25] * 3  # of a version without its own
    page = insight.get(f"{UI}/corrections")
    for text in ("Kept as shown", "25", "Bus", "MODEL_SCORE_THRESHOLD", "Task 2"):
        assert text in page


def test_the_curve_has_estimated_beside_observed_gains(insight: Site) -> None:
    settings = insight.settings
    held = told(insight, f"{API}/curve")
    assert {one["version"] for one in held["trainings"]} == set(insight.versions[1:])
    newest = max(held["trainings"], key=lambda one: one["images"])
    assert (newest["gain"], newest["batch"]["gain"], newest["batch"]["labeled"]) == (0.025, 0.02, 18)
    assert (held["compared"], held["inside"]) == (1, 1)
    assert held["error"] == pytest.approx(0.005)
    page = insight.get(f"{UI}/curve")
    assert "mAP over labeled images" in page
    assert "minutes of annotators" not in page  # one time is no curve
    earlier = replace(trainings(settings.artefacts, PROJECT, store_of(settings, PROJECT))[0], version="v0", minutes=9.0)
    cycles.keep(settings.artefacts, PROJECT, earlier)
    assert "mAP over minutes of annotators" in insight.get(f"{UI}/curve")
    assert "In 1 of 1 training" in page
    far = curves.Interval(low=0.2, high=0.3)
    assert not curves._meet(far, curves.Interval(low=0.0, high=0.1))


def test_the_agent_shows_how_it_learned(insight: Site) -> None:
    held = told(insight, f"{API}/agent")
    assert [one["update"] for one in held["learning_curve"]] == [0, 5, 10, 15, 20, 25]
    (measured,) = held["measured"]
    assert (measured["source"], measured["images"], measured["boxes"]) == ("hindsight", 2, 2.0)
    assert (measured["gain"], measured["error"]) == (0.02, 0.01)
    assert [point["kind"] for point in held["map"]["points"]] == ["labeled", "next batch", "rest"]
    page = insight.get(f"{UI}/agent")
    assert len(re.findall(r"<circle cx", page)) >= 3 + 6
    assert 'class="number h9">0.0070' in page
    assert "30 like" in page


def test_pages_of_a_project_that_has_nothing_yet(settings: Settings) -> None:
    settings.artefacts.write("7/published.lock", b"")
    client = create_app(settings).test_client()
    lines = ("Nothing is in order", "Nothing to compare", "No training", "has not been asked")
    for name, said in zip(("order", "corrections", "curve", "agent"), lines, strict=True):
        answer = client.get(f"/ui/projects/7/{name}")
        assert answer.status_code == 200, answer.get_data(as_text=True)
        assert said in answer.get_data(as_text=True)
        assert client.get(f"/ui/projects/8/{name}").status_code == 404
        assert client.get(f"/api/projects/7/{name}").status_code == (404 if name == "order" else 200)
    assert client.get("/api/projects/7/order/1/thumbnail").status_code == 404


def test_what_is_damaged_is_told_or_left_out(insight: Site) -> None:
    store, name = store_of(insight.settings, PROJECT), insight.versions[-1]
    for file in (FILE, "ranking.json", reviews.FILE):
        (store.root / name / file).write_text("{")
    (insight.settings.artefacts.local / f"{PROJECT}/curve/{name}.json").write_text("[]")
    (insight.settings.artefacts.local / f"{PROJECT}/gain_rows.npz").write_bytes(b"x")
    assert "mgral doctor" in insight.get(f"{UI}/order", 503)
    assert told(insight, f"{API}/corrections")["images"] == 0
    assert len(told(insight, f"{API}/curve")["trainings"]) == 2


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("order", None),
        ("scores", [1.0]),
        ("reasons", {}),
        ("tasks", [5]),
        ("copies", {"of_labeled": "many"}),
        ("gains", {"mgral": ["x", 1]}),
        ("learning_curve", [[0]]),
        ("map", {"tasks": [1]}),
        ("why", 7),
        ("counted", [1]),
    ],
)
def test_an_order_of_another_shape_is_damaged_and_not_the_askers_fault(insight: Site, key: str, value: Any) -> None:
    place = store_of(insight.settings, PROJECT).root / insight.versions[-1] / FILE
    place.write_text(json.dumps(json.loads(place.read_text()) | {key: value}))
    pages = [f"{at}/{name}" for at in (UI, API) for name in ("order", "order/1000", "agent")]
    statuses = [insight.client.get(page).status_code for page in pages]
    assert set(statuses) <= {200, 503}
    assert 503 in statuses


def places(body: Any) -> Iterator[tuple]:
    """The path of every value within JSON; of a list those within the first and the last."""
    yield ()
    if isinstance(body, dict):
        inner = body
    else:
        inner = {0: body[0], len(body) - 1: body[-1]} if isinstance(body, list) and body else {}
    for key, value in inner.items():
        yield from ((key, *rest) for rest in places(value))


def test_any_value_in_any_file_that_pages_read_is_answered(insight: Site, caplog: pytest.LogCaptureFixture) -> None:
    newest, root = insight.versions[-1], insight.settings.artefacts.local / f"{PROJECT}"
    store = store_of(insight.settings, PROJECT).root
    pages = {
        store / newest / "version.json": ["", f"/versions/{newest}", "/curve"],
        store / newest / FILE: ["/order", "/order/1000", "/agent"],
        store / newest / reviews.FILE: ["/corrections"],
        store / newest / "left_out.json": [f"/versions/{newest}"],
        store / newest / "trained_on.json": [f"/versions/{newest}"],
        store / "serving.json": ["", "/versions", "/corrections"],
        root / f"curve/{newest}.json": ["/curve"],
        root / "published.json": ["", "/order", "/versions", "/corrections"],
        root / f"cross_fitting/{newest}.json": ["/versions", f"/versions/{newest}"],
    }
    verdicts.keep(insight.settings.artefacts, PROJECT, verdicts.Verdict(newest, "better", "it is better"))
    odd: tuple[Any, ...] = (None, "x", -1, float("inf"), [], {}, [1], True)
    for file, shown in pages.items():
        held = file.read_text()
        for number, place in enumerate(places(json.loads(held))):
            for value in (odd[number % 8], odd[(number + 3) % 8]):
                file.write_text(json.dumps(replaced(json.loads(held), place, value)))
                for page in shown:
                    answer = insight.client.get(f"{UI}{page}")
                    assert answer.status_code in (200, 404, 503), (file.name, place, value, page)
        file.write_text(held)
    assert not [record for record in caplog.records if record.exc_info]


def test_on_few_held_out_images_a_figure_has_no_interval(insight: Site) -> None:
    """Of one image every resample is the same: 0 ± 0 would be certain."""
    files, name = insight.settings.artefacts, insight.versions[-1]
    before = told(insight, f"{API}/curve")
    (known,) = [one for one in trainings(files, PROJECT, store_of(insight.settings, PROJECT)) if one.gain]
    cycles.keep(files, PROJECT, replace(known, held_out=1, map_error=0.0, gain=(0.3, 0.0)))
    held = told(insight, f"{API}/curve")
    assert (before["compared"], held["compared"]) == (1, 0)
    (training,) = [one for one in held["trainings"] if one["version"] == name]
    assert (training["gain"], training["gain_interval"], training["interval"]) == (0.3, None, None)
    assert "on 1 images: too few for an interval" in insight.get(f"{UI}/curve")
    for file in store_of(insight.settings, PROJECT).root.glob("*/version.json"):
        about = json.loads(file.read_text())
        if about["metrics"]:
            about["metrics"] |= {"images": 1, "boxes": 3}
        file.write_text(json.dumps(about))
    assert "too few held out" in insight.get(f"{UI}/versions")
    assert "on 1 held-out images: too few for an interval" in insight.get(UI)
    assert told(insight, "/api/projects")["projects"][0]["serving"]["interval"] is None


def test_a_figure_that_is_no_number_is_null(insight: Site) -> None:
    name, gain = insight.versions[-1], (float("nan"), float("nan"))
    cycles.keep(
        insight.settings.artefacts,
        PROJECT,
        cycles.Trained(name, "v1", "2026-11-21T10:00:00+00:00", 200, 900, 0.57, 0.02, 40, gain, True),
    )
    text = insight.get(f"{API}/curve")
    assert "NaN" not in text
    assert [one["gain"] for one in json.loads(text)["trainings"]] == [None, None]
    insight.get(f"{UI}/curve")


def test_numbers_that_no_task_has_are_not_found(insight: Site) -> None:
    for task in (0, 2**63, 10**30, int("9" * 400)):
        for address in (f"{UI}/order/{task}", f"{API}/order/{task}", f"{API}/order/{task}/thumbnail"):
            assert insight.client.get(address).status_code in (400, 404), address


def test_a_cache_that_cannot_be_opened_is_told(insight: Site) -> None:
    cache = insight.settings.cache_dir / "cache.db"
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_bytes(b"no database" * 1000)
    insight.settings.label_studio_api_key = "0" * 40
    assert insight.client.get(f"{API}/order/1000/thumbnail").status_code == 503


@pytest.fixture
def studio(insight: Site) -> Iterator[Server]:
    """In the place of Label Studio: it holds one picture."""
    shown = io.BytesIO()
    Image.fromarray(np.full((400, 800, 3), 90, np.uint8)).save(shown, "PNG")
    with running() as server:
        server.answers["/"] = [Answer(404, PAGE)]
        server.answers["/data/upload/1/1000.png"] = [Answer(body=shown.getvalue())]
        insight.settings.label_studio_url = server.url
        insight.settings.label_studio_api_key = "0" * 40
        yield server


def test_a_thumbnail_is_small_kept_and_only_of_the_projects_tasks(insight: Site, studio: Server) -> None:
    address = told(insight, f"{API}/order/1000")["thumbnail"]
    for _ in range(2):
        answer = insight.client.get(address)
        assert (answer.status_code, answer.mimetype) == (200, "image/jpeg")
        with Image.open(io.BytesIO(answer.data)) as small:
            assert small.size == (320, 160)
    assert len([path for path, _ in studio.asked if "1000.png" in path]) == 1
    assert insight.client.get(f"{API}/order/5000/thumbnail").status_code == 404
    assert insight.client.get(f"{API}/order/999/thumbnail").status_code == 404  # its image is not there


def test_a_thumbnail_wants_the_password(insight: Site) -> None:
    closed = insight.settings.model_copy(update={"basic_auth_user": "a", "basic_auth_pass": "b"})
    client = create_app(closed).test_client()
    for address in (f"{API}/order/1000/thumbnail", f"{API}/order", f"{UI}/order", f"{UI}/agent"):
        assert client.get(address).status_code == 401

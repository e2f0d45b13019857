"""What pages show and what they refuse; what is in them is told to browsers, scripts and screen readers alike."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any

import pytest
from flask.testing import FlaskClient
from rq.job import JobStatus
from rq.utils import now

from agent.cross_fitting import FILE as CROSS_FITTING
from agent.holdout import FILE as HOLDOUT
from agent.holdout import Holdout
from backend.project import audit
from backend.project.review.verdicts import FOLDER, Verdict, keep
from backend.project.serving import store_of
from backend.queue.worker import worker
from backend.settings import Settings
from backend.web.about import About
from backend.web.app import create_app
from backend.web.pages.base import POLICY
from backend.web.service import EXTENSION
from bench.pages import Saved, addresses, enqueue
from model.data.dataset import Dataset
from tests.backend.web.pages.conftest import Site

HOSTILE = "\"><script>alert(1)</script>{{ 7 * 7 }}<b>'"


def every(site: Site, job: str) -> list[str]:
    pages = addresses(site.client.application, site.versions[-1], site.versions[-2], job)
    return [address for address in pages if address.startswith("/ui")]


def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Site) -> None:
    for address in every(site, enqueue(site.settings, 1, cycles=1, variants=2)):
        answer = site.client.get(address)
        text = answer.get_data(as_text=True)
        assert answer.status_code == 200, address
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert len(re.findall(r"<h1>[^<]+</h1>", text)) == 1, address
        assert re.search(r"<script(?![^>]* src=)", text) is None, address
        assert not re.search(r"""\s(style|on\w+)=["']""", text), address
        loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="([^"]*)"', text)
        assert loaded, address
        assert all(source.startswith(("/ui/static/", "/api/projects/1/")) for source in loaded), loaded


def test_a_page_holds_what_the_api_tells(site: Site) -> None:
    told = site.client.get("/api/projects/1/versions").get_json()
    page = site.get("/ui/projects/1/versions")
    assert [one["name"] for one in told["versions"]] == site.versions[::-1]
    assert told["versions"][0]["serving"]
    for one in told["versions"][:2]:
        assert f"{one['scores']['map']:.3f}" in page
        assert one["note"] in page
    assert told["previous"] == site.versions[1]
    details = site.client.get(f"/api/projects/1/versions/{site.versions[-1]}").get_json()
    assert (details["learned"], details["held_out"]) == (160, 30)
    assert details["left_out"] == [{"reason": "labels that the config does not have", "tasks": [7, 9]}]
    assert [row["name"] for row in details["scores"]["classes"]] == ["class 0", "class 1", "class 2"]
    assert details["scores"]["classes"][0]["interval"]["low"] < details["scores"]["classes"][0]["ap"]


def test_what_people_wrote_is_shown_as_text(site: Site, settings: Settings) -> None:
    store = store_of(settings, 1)
    metrics = {"map": 0.5, "map50": 0.5, "map75": 0.5, "per_class": {HOSTILE: 0.5}, "images": 1, "boxes": 1}
    saved = Saved((HOSTILE,))
    version = store.add(
        saved,  # type: ignore[arg-type]
        metrics=metrics,
        label_map={HOSTILE: HOSTILE},
        fingerprint="",
        parent=None,
        images=1,
        note=HOSTILE,
    )
    left_out = {"labeled": 1, "tasks": {HOSTILE: [1]}, "several": 0, "rule": "newest"}
    store.write(version.name, "left_out.json", json.dumps(left_out).encode())
    store.promote(version.name)
    job, _ = site.jobs.enqueue("train", 1)
    job.meta |= {"stage": HOSTILE, "error": HOSTILE, "log": [[1.0, HOSTILE]]}
    job.save_meta()
    audit.record(settings, 1, "train", audit.Person(HOSTILE, "page"), job=HOSTILE)
    site.client.application.extensions[EXTENSION].abouts.known[1] = About(HOSTILE, 10, 5, 0.0)
    site.versions.append(version.name)
    shown = 0
    for address in every(site, job.id):
        text = site.get(address)
        assert "<script>alert" not in text, address
        assert "<b>" not in text, address
        shown += "&lt;script&gt;alert(1)" in text
    assert shown >= 7
    assert "{{ 7 * 7 }}" in site.get(f"/ui/projects/1/versions/{version.name}")
    for path in (f"/ui/projects/1/versions/{HOSTILE}", f"/ui/projects/1/jobs/{HOSTILE}", f"/ui/{HOSTILE}"):
        assert "<script>alert" not in site.get(path, 404)
    assert '<p class="said" role="status"></p>' in site.get("/ui?said=made up")


def test_errors_are_pages_with_a_way_back(site: Site) -> None:
    for path, said in (
        ("/ui/nowhere", "no such page"),
        ("/ui/projects/99", "mgral connect 99"),
        ("/ui/projects/1/versions/v9", "no version v9"),
        ("/ui/projects/1/jobs/gone", "seven days"),
    ):
        text = site.get(path, 404)
        assert said in text
        assert 'href="/ui"' in text
    assert site.get("/ui/projects/99?part=live", 404).startswith("project 99 is not connected")


def test_without_a_redis_the_overview_says_so(settings: Settings, site: Site) -> None:
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    client = create_app(away).test_client()
    text = client.get("/ui").get_data(as_text=True)
    assert "Redis is away" in text
    assert site.versions[-1] in text  # what serves is known all the same
    answer = client.get("/ui/projects/1/jobs")
    assert answer.status_code == 503
    assert "start it, or set REDIS_URL" in answer.get_data(as_text=True)


def test_an_installation_without_projects_says_what_to_do(settings: Settings) -> None:
    text = create_app(settings).test_client().get("/ui").get_data(as_text=True)
    assert "mgral connect PROJECT" in text


def test_the_live_part_is_a_piece_of_the_page(site: Site) -> None:
    whole, part = site.get("/ui/projects/1"), site.get("/ui/projects/1?part=live")
    assert "<html" not in part
    assert "Nothing runs" in part
    first = part.strip().splitlines()[0]
    assert first in whole


def test_every_page_has_a_live_part_or_an_empty_one(site: Site) -> None:
    for address in every(site, enqueue(site.settings, 1, cycles=1, variants=1)):
        if "static" not in address:
            assert "<html" not in site.get(f"{address}{'&' if '?' in address else '?'}part=live"), address


ODD = ["0", "-1", "²", "9" * 18, "9" * 30, "9" * 5000, "..", "%00", "%ff", "a b", "x" * 300, "%ed%a0%80"]
QUERIES = [
    *("part=live", "part=%00", "said=%ff", "said=a.b.c", "offset=-1", f"offset={10**30}", "offset=x", "limit=0"),
    *("limit=1001", "task=%23", "task=²", f"task={10**30}", "ours=..", "ours=%00&theirs=x", "ours=&theirs="),
]


def test_no_address_is_answered_500(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    job = enqueue(site.settings, 1, cycles=1, variants=1)
    right = {"project": "1", "version": site.versions[-1], "job": job, "task": "1", "rest": "x", "filename": "live.js"}
    asked = set()
    for rule in site.client.application.url_map.iter_rules():
        if "GET" not in (rule.methods or ()) or not str(rule).startswith(("/ui", "/api")):
            continue
        names = re.findall(r"<(?:\w+(?:\([^)]*\))?:)?(\w+)>", str(rule))
        filled = [right | {name: odd} for name in names for odd in ODD] or [right]
        places = [re.sub(r"<[^>]*?(\w+)>", lambda found, of=one: of.get(found[1], "x"), str(rule)) for one in filled]  # type: ignore[misc]
        plain = re.sub(r"<[^>]*?(\w+)>", lambda found: right.get(found[1], "x"), str(rule))
        asked |= {*places, plain, *(f"{plain}?{query}" for query in QUERIES)}
    assert len(asked) > 500
    for address in sorted(asked):
        assert site.client.get(address).status_code in (200, 303, 400, 403, 404, 409, 503), address
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("version", ["", "..", "v9", "\x00", "²", "x" * 300, "a/b"])
def test_no_version_that_is_named_is_answered_500(site: Site, version: str) -> None:
    assert site.press("/ui/projects/1/promote", version=version).status_code == 404
    bodies: list[Any] = [{"version": version}, {"version": None}, {"version": [version]}, {}, [], version]
    for body in bodies:
        answer = site.client.post("/api/projects/1/promote", json=body)
        assert answer.status_code in (400, 404), answer.get_data(as_text=True)


def test_a_worker_that_was_killed_is_none(site: Site) -> None:
    """RQ leaves its name in the list, and lets its own entry expire."""
    killed = worker(site.jobs)
    killed.birth_date = now()
    killed.register_birth()
    assert site.client.get("/api/projects").get_json()["workers"] == 1
    site.jobs.connection.delete(killed.key)
    assert site.client.get("/api/projects").get_json()["workers"] == 0
    for page in ("/ui", "/ui/projects/1/jobs"):
        assert "No worker is running" in site.get(page)
    killed.register_death()


def test_what_is_said_after_a_cycle_has_ended_is_shown(site: Site) -> None:
    """What has ended is remembered, but not before all of it has."""
    jobs = site.jobs
    head, _ = jobs.enqueue("train", 1)
    published, after = jobs.add(head.id, "publish", 1, "c"), jobs.add(head.id, "cross_fit", 1, "c")
    for job in (head, published):
        job.set_status(JobStatus.FINISHED)
    page = f"/ui/projects/1/jobs/{head.id}"
    assert "Cross-fitting goes on; nothing waits for it." in site.get(page)
    assert site.client.get(f"/api/projects/1/jobs/{head.id}").get_json()["status"] == "finished"
    after.meta["log"] = [[time.time(), "v0002 is better than v0001"]]
    after.save_meta()
    after.set_status(JobStatus.FINISHED)
    assert "v0002 is better than v0001" in site.get(page)
    assert "goes on" not in site.get(page)


def test_versions_are_compared_with_paired_intervals(site: Site) -> None:
    newest, parent, first = site.versions[-1], site.versions[-2], site.versions[0]
    service = site.client.application.extensions[EXTENSION]
    told = site.client.get(f"/api/projects/1/compare?ours={newest}&theirs={parent}").get_json()
    if told["state"] == "being made":
        service.comparisons.get(next(iter(service.comparisons.kept)), lambda: None, 60)
        told = site.client.get(f"/api/projects/1/compare?ours={newest}&theirs={parent}").get_json()
    assert told["state"] == "done"
    assert told["images"] == 30
    whole = told["rows"][0]
    assert whole["name"] == "mAP"
    assert whole["difference"] == pytest.approx(whole["ours"] - whole["theirs"])
    assert 0 < whole["interval"]["low"] < whole["difference"] < whole["interval"]["high"]  # it found closer boxes
    assert whole["verdict"] == "better"
    page = site.get(f"/ui/projects/1/compare?ours={newest}&theirs={parent}")
    assert "better" in page
    assert "on which the training compared them" in page
    none = site.client.get(f"/api/projects/1/compare?ours={newest}&theirs={first}").get_json()
    assert none["state"] == "impossible"
    assert none["rows"][0]["difference"] is None


def test_where_the_holdout_is_too_small_versions_are_compared_by_their_doubles(site: Site, held: Holdout) -> None:
    newest, parent = site.versions[-1], site.versions[-2]
    store, files = store_of(site.settings, 1), site.settings.artefacts
    few = Holdout(Dataset(held.dataset.images[:5], held.dataset.names), held.found[:5], held.before[:5])
    for version in (newest, parent):
        store.write(version, HOLDOUT, few.to_bytes())
    asked = f"/api/projects/1/compare?ours={newest}&theirs={parent}"
    service = site.client.application.extensions[EXTENSION]

    def told() -> dict[str, Any]:
        answer = site.client.get(asked).get_json()
        if answer["state"] == "being made":
            service.comparisons.get(next(reversed(service.comparisons.kept)), lambda: None, 60)
            answer = site.client.get(asked).get_json()
        return answer

    before = told()
    assert (before["images"], before["rows"][0]["verdict"]) == (5, "undecided")
    assert "20 images and 50 boxes are needed to be sure" in before["why"]
    verdict = Verdict(newest, "better", "v0003 is better than v0002: <b>mAP</b>")
    store.write(newest, CROSS_FITTING, held.to_bytes())
    keep(files, 1, verdict)
    after = told()  # what was computed before it was cross-fitted is not told again
    assert (after["images"], after["rows"][0]["verdict"]) == (30, "better")
    assert "cross-fitted" in after["why"]
    by_name = {one["name"]: one for one in site.client.get("/api/projects/1/versions").get_json()["versions"]}
    assert by_name[newest]["cross_fitted"] == {"verdict": "better", "sentence": verdict.sentence}
    assert by_name[parent]["cross_fitted"] is None
    for page in ("versions", f"versions/{newest}"):
        assert "v0003 is better than v0002: &lt;b&gt;mAP&lt;/b&gt;" in site.get(f"/ui/projects/1/{page}")
    other = site.client.get(f"/api/projects/1/compare?ours={parent}&theirs={newest}").get_json()
    assert other["images"] in (5, None)  # the parent was not cross-fitted
    (files.local / f"1/{FOLDER}/{newest}.json").write_text("cut")
    assert "v0003 is better" not in site.get("/ui/projects/1/versions")


def test_the_password_guards_every_page(settings: Settings) -> None:
    settings.basic_auth_user, settings.basic_auth_pass = "admin", "s3cret"
    client: FlaskClient = create_app(settings).test_client()
    for path in ("/ui", "/ui/static/style.css", "/ui/nowhere", "/api/docs", "/api/openapi.json", "/api/projects"):
        answer = client.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
    assert "Password needed" in client.get("/ui").get_data(as_text=True)
    right = {"Authorization": "Basic " + base64.b64encode(b"admin:s3cret").decode()}
    assert client.get("/ui", headers=right).status_code == 200


def test_the_api_describes_itself(site: Site) -> None:
    told = site.client.get("/api/openapi.json").get_json()
    assert told["openapi"].startswith("3.")
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(rule)), method.lower())
        for rule in site.client.application.url_map.iter_rules()
        for method in rule.methods or ()
        if str(rule).startswith("/api/projects") and method in ("GET", "POST")
    }
    described = {(path, method) for path, methods in told["paths"].items() for method in methods}
    assert routes == described
    for path, method in described:
        operation = told["paths"][path][method]
        assert operation["summary"], path
        assert "200" in operation["responses"], path
    for name in ("swagger-ui.css", "swagger-ui-bundle.js"):
        assert site.client.get(f"/api/docs/{name}").status_code == 200
    assert site.client.get("/api/docs/other.js").status_code == 404

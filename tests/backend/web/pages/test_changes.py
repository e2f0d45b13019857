"""What the buttons and the API change, how it is noted, and what is no button of ours."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from rq.job import JobStatus

from backend.commands.local import attempts
from backend.project import audit
from backend.project.serving import published_of, store_of
from backend.settings import Settings
from backend.web.api import changes
from backend.web.pages import tokens
from backend.web.pages.tokens import Tokens
from bench.pages import enqueue
from tests.backend.web.pages.conftest import Site
from tests.faults import Answer, Before, FaultyProxy


@pytest.fixture
def studio(settings: Settings) -> Iterator[FaultyProxy]:
    """In the place of Label Studio: it holds the predictions of one version before the last."""
    with FaultyProxy("http://127.0.0.1:9") as studio:
        settings.label_studio_url = studio.url
        yield studio


def noted(site: Site) -> list[tuple[str, str]]:
    return [(event.what, event.via) for event in audit.read(site.settings, 1)]


def test_buttons_ask_for_work_and_cancel_it(site: Site) -> None:
    answer = site.press("/ui/projects/1/train")
    assert answer.status_code == 303
    page = site.get(answer.headers["Location"])
    assert "The training is in the queue." in page
    assert "Waiting for a worker" in page
    training = site.jobs.active("train", 1)
    assert training is not None
    assert "already" in site.get(site.press("/ui/projects/1/train").headers["Location"])
    assert site.press("/ui/projects/1/cancel").status_code == 303
    assert site.jobs.active("train", 1) is None
    assert "cancelled" in site.get("/ui/projects/1/jobs")
    assert noted(site) == [("cancel", "page"), ("train", "page"), ("train", "page")]
    assert "cancel" in site.get("/ui/projects/1/changes")


def test_scripts_can_do_what_buttons_do(site: Site) -> None:
    asked = site.json("/api/projects/1/rank").get_json()
    assert asked["new"]
    assert site.json("/api/projects/1/rank").get_json() == {"job": asked["job"], "new": False}
    assert site.client.get("/api/projects/1/jobs").get_json()["active"][0]["job"] == asked["job"]
    assert site.json("/api/projects/1/cancel").get_json() == {"cancelled": [asked["job"]]}
    assert noted(site) == [("cancel", "api"), ("rank", "api"), ("rank", "api")]


@pytest.mark.parametrize("token", [None, "", "made up", "ImFkbWluIg.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb"])
def test_a_form_of_another_page_changes_nothing(site: Site, token: str | None) -> None:
    for path in ("train", "rank", "cancel", "promote", "roll-back", "jobs/x/retry"):
        answer = site.client.post(f"/ui/projects/1/{path}", data={} if token is None else {"token": token})
        assert answer.status_code == 403, path
        assert "load it again" in answer.get_data(as_text=True)
    assert site.jobs.last("train", 1) is None
    assert noted(site) == []


def test_a_token_is_good_for_one_user_and_some_hours(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = Tokens(settings)
    other = Tokens(settings.model_copy(update={"basic_auth_user": "bob", "basic_auth_pass": "long enough"}))
    assert mine.is_ours(mine.form())
    assert not mine.is_ours(other.form())
    assert not mine.is_ours(mine.say(""))  # what pages say is signed too, but is no proof
    monkeypatch.setattr(tokens, "FORM_SECONDS", -1)
    assert not mine.is_ours(mine.form())


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"])
def test_the_api_takes_no_form(site: Site, kind: str) -> None:
    """A form of another site could send these, and a browser of long ago would not tell where it came from."""
    for path in ("train", "rank", "cancel", "promote", "roll_back", "jobs/x/retry"):
        assert site.client.post(f"/api/projects/1/{path}", data="a=b", content_type=kind).status_code == 415, path
    assert site.jobs.last("train", 1) is None
    assert site.client.post("/api/projects/1/train").status_code == 415
    assert site.client.post("/api/projects/1/cancel").status_code == 200  # as scripts of earlier releases ask


def test_another_version_serves_here_and_in_label_studio(site: Site, studio: FaultyProxy) -> None:
    first, second, third = site.versions
    name = f"{second}-r001"
    studio.next(10**6, "GET", "/api/projects/1/model-versions/", Answer(200, json.dumps({name: 5})))
    studio.next(10**6, "GET", "/api/projects/1/", Answer(200, '{"id": 1, "total_annotations_number": 9}'))
    studio.next(10**6, "PATCH", "/api/projects/1/", Answer(200, "{}"))
    answer = site.press("/ui/projects/1/promote", version=second)
    assert answer.status_code == 303, answer.get_data(as_text=True)
    assert f"Project 1 shows {name}." in site.get(answer.headers["Location"])
    assert studio.count("PATCH", "/api/projects/1/") == 1
    live = published_of(site.settings, 1).current()
    assert live is not None
    assert (store_of(site.settings, 1).named(), live.model_version) == (second, name)
    said = site.json("/api/projects/1/roll_back").get_json()["said"]  # Label Studio has none of its predictions
    assert "its predictions are being made by job" in said
    assert store_of(site.settings, 1).named() == third
    assert site.json("/api/projects/1/promote", {"version": "v9"}).status_code == 404
    assert site.json("/api/projects/1/promote", {"version": 3}).status_code == 400
    assert noted(site) == [("roll back", "api"), ("promote", "page")]
    assert first in site.get("/ui/projects/1/versions")


def test_a_change_for_which_nobody_waits_any_more_is_noted_too(
    site: Site, studio: FaultyProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(changes, "CHOOSE_SECONDS", 0.05)
    studio.next(10**6, "GET", "/api/projects/1/model-versions/", Answer(200, "{}"))
    studio.next(10**6, "GET", "/api/projects/1/", Answer(200, '{"id": 1, "total_annotations_number": 9}'))
    answering = threading.Event()
    with FaultyProxy(studio.url) as slow:
        slow.next(1, "GET", "/api/projects/1/", Before(answering.wait))
        site.settings.label_studio_url = slow.url
        answer = site.press("/ui/projects/1/promote", version=site.versions[0])
        assert answer.status_code == 503
        assert "the change goes on" in answer.get_data(as_text=True)
        assert noted(site) == []
        answering.set()
        assert any(noted(site) for _ in attempts(20, pause=0.05))
    assert noted(site) == [("promote", "page")]
    assert store_of(site.settings, 1).named() == site.versions[0]


def test_where_label_studio_refuses_the_same_version_serves(site: Site, studio: FaultyProxy) -> None:
    studio.next(10**6, "GET", "/api/projects/1/", Answer(401, '{"detail": "Invalid token."}'))
    answer = site.press("/ui/projects/1/promote", version=site.versions[0])
    assert answer.status_code == 502
    assert "Label Studio refuses the backend" in answer.get_data(as_text=True)
    assert store_of(site.settings, 1).named() == site.versions[-1]
    assert noted(site) == []


def test_a_failed_job_says_the_remedy_and_is_tried_again(site: Site) -> None:
    failed = enqueue(site.settings, 1, cycles=1, variants=1)
    site.jobs.cancel(1)  # the one that ran after it
    page = site.get(f"/ui/projects/1/jobs/{failed}")
    assert "draw some, then start training again" in page
    assert "line 3 of what it did" in page
    answer = site.press(f"/ui/projects/1/jobs/{failed}/retry")
    again = site.jobs.active("train", 1)
    assert again is not None
    assert answer.headers["Location"].startswith(f"/ui/projects/1/jobs/{again.id}?")
    assert noted(site)[0] == ("retry", "page")
    assert site.json(f"/api/projects/1/jobs/{again.id}/retry").status_code == 409
    part = next(one["job"] for one in site.client.get(f"/api/projects/1/jobs/{failed}").get_json()["parts"])
    assert site.json(f"/api/projects/1/jobs/{part}/retry").status_code == 409


def test_a_job_of_another_project_is_not_shown(site: Site) -> None:
    (site.settings.artefacts.local / "2").mkdir()
    job, _ = site.jobs.enqueue("train", 2)
    assert site.client.get(f"/ui/projects/1/jobs/{job.id}").status_code == 404
    assert site.client.get(f"/ui/projects/2/jobs/{job.id}").status_code == 200
    job.set_status(JobStatus.FAILED)
    assert site.json(f"/api/projects/1/jobs/{job.id}/retry").status_code == 404

"""The card of the backend in Label Studio says what runs, then what serves; what is away costs nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from requests.adapters import HTTPAdapter
from rq.job import Job, JobStatus

from backend import plugin
from backend.label_studio.client import Studio
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from backend.web.app import create_app
from backend.web.watch import card, cards
from backend.web.watch.cards import Cards
from model.version import Version
from tests.backend.web.requests import CONFIG, connected
from tests.faults import Answer, FaultyProxy
from tests.studio import HeldStudio

OURS, OTHER = "http://backend:9090", "http://sam:9090"
SAYS = {"kind": "train", "status": "started", "share": 0.43, "seconds_left": 125, "error": None}


@pytest.fixture
def studio() -> Iterator[HeldStudio]:
    with HeldStudio({}) as held:
        held.backends = [
            {"id": 1, "url": OTHER, "title": "SAM"},
            {"id": 2, "url": f"{OURS}/", "title": "MGRAL"},
        ]
        yield held


@pytest.fixture
def at(settings: Settings, studio: HeldStudio, monkeypatch: pytest.MonkeyPatch) -> Settings:
    found = settings.model_copy(update={"label_studio_url": studio.url})
    monkeypatch.setattr(plugin, "get_settings", lambda: found)
    connected(found, 1)
    return found


@pytest.fixture
def kept(at: Settings) -> Cards:
    """Cards of a project that Label Studio has looked at."""
    client = create_app(at).test_client()
    client.post("/setup", json={"project": "1.1", "schema": CONFIG}, base_url=OURS)
    found: Cards = client.application.extensions["cards"]
    return found


def titles(studio: HeldStudio) -> list[str]:
    return [row["title"] for row in studio.backends]


def later(kept: Cards, seconds: float) -> None:
    """As if the card had been changed so long ago."""
    said, since = kept.sent[1]
    kept.sent[1] = (said, since - seconds)


def running(jobs: Jobs, share: float) -> Job:
    """The cycle of project 1, so far done."""
    job = jobs.head(1)
    assert job is not None
    job.set_status(JobStatus.STARTED)
    job.meta["share"] = share
    job.save_meta()
    return job


def test_it_says_what_runs_and_then_what_serves(kept: Cards, studio: HeldStudio, at: Settings) -> None:
    jobs = Jobs(at)
    jobs.cancel(1)  # the first ranking
    kept.look()
    assert titles(studio) == ["SAM", "MGRAL · no order yet"]
    jobs.enqueue("train", 1)
    kept.look()
    assert titles(studio)[1] == f"MGRAL · {card.NO_WORKER}"
    job = running(jobs, 0.5)
    kept.look()
    assert titles(studio)[1] == f"MGRAL · {card.NO_WORKER}"  # it was changed a moment ago
    later(kept, cards.EACH_SECONDS)
    kept.look()
    assert titles(studio)[1].startswith("MGRAL · training ")
    assert titles(studio)[1].endswith(" %")
    job.meta["error"] = "project 1 has no boxes to learn from: draw some"
    job.save_meta()
    job.set_status(JobStatus.FAILED)
    kept.look()  # the last word is not held back
    assert titles(studio) == ["SAM", "MGRAL · training failed: no boxes to learn from: draw some"]


def test_a_name_that_somebody_gave_it_stays(kept: Cards, studio: HeldStudio) -> None:
    studio.backends[1]["title"] = "Road signs"
    kept.look()
    assert titles(studio) == ["SAM", f"Road signs · {card.NO_WORKER}"]


def test_a_title_that_was_put_back_is_set_again(
    kept: Cards, studio: HeldStudio, at: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at the card has Label Studio write the whole row, with the title that it had read before."""
    monkeypatch.setattr(cards, "CHECK_SECONDS", 0)
    Jobs(at).cancel(1)
    kept.look()
    assert titles(studio)[1] == "MGRAL · no order yet"
    studio.backends[1]["title"] = "MGRAL · ranking 3 %"
    kept.look()
    assert titles(studio)[1] == "MGRAL · no order yet"
    kept.next.clear()
    kept.look()  # it is as it should be: the next look is RECONCILE_SECONDS later
    studio.backends[1]["title"] = "MGRAL · ranking 3 %"
    kept.next.clear()
    kept.look()
    assert titles(studio)[1] == "MGRAL · ranking 3 %"
    kept.check[1] -= at.reconcile_seconds
    kept.next.clear()
    kept.look()
    assert titles(studio)[1] == "MGRAL · no order yet"


def test_one_process_at_a_time_keeps_the_cards(kept: Cards, studio: HeldStudio, at: Settings) -> None:
    other = Cards(at)
    kept.look()
    studio.backends[1]["title"] = "MGRAL"
    other.look()
    assert titles(studio)[1] == "MGRAL"
    kept.lock.release()
    other.look()  # it knows the address from Redis, as a backend that begins anew does
    assert titles(studio)[1] == f"MGRAL · {card.NO_WORKER}"


def test_the_password_goes_with_it(kept: Cards, studio: HeldStudio) -> None:
    kept.settings = kept.settings.model_copy(update={"basic_auth_user": "a", "basic_auth_pass": "b"})
    kept.look()
    assert studio.backends[1]["auth_method"] == "BASIC_AUTH"
    assert (studio.backends[1]["project"], studio.backends[1]["basic_auth_pass"]) == (1, "b")


def test_what_is_made_live_is_not_disturbed(kept: Cards, studio: HeldStudio, at: Settings) -> None:
    with Jobs(at).exclusive(1):
        kept.look()
        assert titles(studio)[1] == "MGRAL"
    kept.look()
    assert titles(studio)[1] == f"MGRAL · {card.NO_WORKER}"


def test_a_label_studio_that_is_away_is_left_alone(
    kept: Cards, studio: HeldStudio, at: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    kept.look()
    running(Jobs(at), 0.5)
    later(kept, cards.EACH_SECONDS)
    there, kept.studio = kept.studio, Studio("http://127.0.0.1:9", "0" * 40)
    kept.studio.session.mount("http://", HTTPAdapter())  # which tries once only
    with caplog.at_level(logging.INFO, logger=cards.__name__):
        kept.look()
        kept.look()
    assert caplog.text.count("its card in Label Studio waits") == 1
    kept.studio, kept.resting_until = there, 0
    kept.look()
    assert titles(studio)[1].startswith("MGRAL · ranking")


def test_a_project_that_was_deleted_holds_up_no_other(
    kept: Cards, studio: HeldStudio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Label Studio answers 404 for it for ever; here those before and behind project 1."""
    for gone in (0, 2):
        kept.jobs.connection.hset(kept.key, str(gone), urlsplit(OURS).netloc)
    with FaultyProxy(studio.url) as proxy:
        proxy.next(10**6, "GET", "project=(0|2)$", Answer(404, '{"detail": "Not found."}'))
        kept.studio = Studio(proxy.url, "0" * 40)
        monkeypatch.setattr(cards, "IDLE_SECONDS", 0)
        for _ in range(3):
            kept.look()
            studio.backends[1]["title"] = "MGRAL"
            kept.check.clear()
        kept.look()
        assert titles(studio)[1] == f"MGRAL · {card.NO_WORKER}"
        assert [proxy.count("GET", f"project={gone}$") for gone in (0, 2)] == [1, 1]  # not asked again for a while


def test_a_made_up_project_has_no_card(at: Settings) -> None:
    client = create_app(at).test_client()
    for project in (50, 51):
        assert client.post("/setup", json={"project": f"{project}.1", "schema": CONFIG}).status_code == 404
    assert client.application.extensions["cards"].noted == {}


def test_a_damaged_project_keeps_its_card(kept: Cards, studio: HeldStudio, at: Settings) -> None:
    Jobs(at).cancel(1)
    folder = at.artefacts.local / "1/versions"
    (folder / "v0001").mkdir(parents=True)
    (folder / "v0001/version.json").write_text("{")
    (folder / "serving.json").write_text('{"serving": "v0001", "history": []}')
    kept.look()
    assert titles(studio)[1] == "MGRAL · no order yet"  # a pointer of another shape names none
    (folder / "serving.json").write_text('{"current": "v0001", "history": []}')
    kept.next.clear()
    studio.backends[1]["title"] = "MGRAL · v0001, 7 labeled"
    kept.check.clear()
    kept.look()
    assert titles(studio)[1] == "MGRAL · v0001, 7 labeled"


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ({}, "training 43 %, about 2 min left"),
        ({"seconds_left": None}, "training 43 %"),
        ({"seconds_left": 40}, "training 43 %, less than a minute left"),
        ({"seconds_left": 20_000, "kind": "rank"}, "ranking 43 %, about 6 h left"),
        ({"status": "queued"}, "training waits for a worker"),
        ({"status": "scheduled", "error": "Label Studio is away"}, "training is tried again: Label Studio is away"),
    ],
)
def test_of_work(work: dict, said: str) -> None:
    assert card.of_work(SAYS | work, workers=1) == said


def test_of_work_without_a_worker() -> None:
    assert card.of_work(SAYS | {"status": "queued"}, workers=0) == card.NO_WORKER


def test_a_long_reason_is_cut_between_words() -> None:
    said = card.of_failure(SAYS | {"error": "project 12: " + "draw some boxes, " * 20})
    assert len(said) <= card.LONGEST + 4
    assert said.startswith("training failed: draw some boxes, draw")
    assert said.endswith(("boxes ...", "draw ...", "some ..."))


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"metrics": {"map": 0.41, "map_interval": (0.36, 0.46)}}, "v0003, mAP .41 ± .05, 120 labeled"),
        (
            {"metrics": {"map": 0.41, "map_interval": (0.41, 0.41), "images": 1, "boxes": 60}},
            "v0003, mAP .41, 120 labeled",  # of one image the interval has no width
        ),
        ({"metrics": {"map": 1.0, "map_interval": None}}, "v0003, mAP 1.00, 120 labeled"),
        ({"metrics": {"map": -1.0}}, "v0003, 120 labeled"),
        ({"metrics": None}, "v0003, 120 labeled"),
        ({"metrics": {"map": None}}, "v0003, 120 labeled"),
        ({"metrics": {"map": 0.41, "map_interval": ["low", "high"]}}, "v0003, mAP .41, 120 labeled"),
        ({"parent": None}, "v0003, not trained yet"),
    ],
)
def test_of_version(about: dict, said: str) -> None:
    held: dict[str, Any] = {
        "metrics": None,
        "parent": "v0002",
        "names": (),
        "label_map": {},
        "fingerprint": "",
        "created": "",
    }
    held |= {"name": "v0003-20261127-101500", "images": 120, "note": "", "number": 3, "path": Path()}
    assert card.of_version(Version(**held | about)) == said
    assert card.of_version(None) == "no order yet"

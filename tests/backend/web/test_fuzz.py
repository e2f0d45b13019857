"""Thousands of wrong requests: none is answered 500, none leaves a traceback in the log."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend import plugin
from backend.project.published import Publication
from backend.project.serving import published_of
from backend.settings import Settings
from backend.web.app import create_app
from bench.fuzz import case
from tests.backend.web.requests import connected
from tests.faults import Answer, FaultyProxy

CASES = 2000


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """Of an installation with one project, and a Label Studio that knows none."""
    monkeypatch.setattr(plugin, "get_settings", lambda: settings)
    with FaultyProxy("http://127.0.0.1:9") as studio:
        studio.next(10**9, "GET", "/", Answer(404))
        settings.label_studio_url = studio.url
        connected(settings, 1)
        published_of(settings, 1).publish(Publication("v1-r001", "v1", "entropy", 0))
        yield create_app(settings).test_client()


@pytest.mark.timeout(180)
@settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.integers(0, 2**32))
def test_no_request_is_answered_500(client: FlaskClient, caplog: pytest.LogCaptureFixture, number: int) -> None:
    one = case(number)
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        answer = client.open(one.path, method=one.method, headers=one.headers, data=one.body)
    assert answer.status_code != 500, answer.text
    if answer.status_code >= 400 and one.method != "HEAD":
        said = answer.get_json()["error"]
        assert said
        assert "\n" not in said
        assert "Error" not in said
    assert not [record for record in caplog.records if record.exc_info]

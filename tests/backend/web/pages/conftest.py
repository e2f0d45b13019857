"""A project as three trainings leave it, and the application over it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from agent.holdout import Holdout
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from backend.web.app import create_app
from bench.pages import PROJECT, build, holdout

TOKEN = re.compile(r'name="token" value="([^"]+)"')


@dataclass
class Site:
    """The pages, and who presses their buttons."""

    client: FlaskClient
    settings: Settings
    versions: list[str]

    @property
    def jobs(self) -> Jobs:
        return Jobs(self.settings)

    def get(self, path: str, status: int = 200) -> str:
        answer = self.client.get(path)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return answer.get_data(as_text=True)

    def press(self, path: str, **fields: str) -> TestResponse:
        """Send a form as the page does, which holds a token."""
        found = TOKEN.search(self.get("/ui"))
        assert found is not None
        return self.client.post(path, data={"token": found[1]} | fields)

    def json(self, path: str, body: dict[str, Any] | None = None) -> TestResponse:
        return self.client.post(path, json=body or {})


@pytest.fixture(scope="session")
def held() -> Holdout:
    return holdout(images=30, classes=3)


@pytest.fixture
def site(settings: Settings, held: Holdout) -> Site:
    made = build(settings, PROJECT, versions=3, tasks=5, held=held)
    return Site(create_app(settings).test_client(), settings, made)

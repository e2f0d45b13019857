"""Who changed what."""

from __future__ import annotations

from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from backend.project import audit
from backend.web.api.base import ProjectPath, answer_of, check, topic
from backend.web.service import service

routes = topic("changes", "Who changed what in a project")


class Limit(BaseModel):
    """How many."""

    limit: int = Field(100, ge=1, le=1000, description="the newest so many")


class Change(BaseModel):
    """One change that a person asked for."""

    when: str = Field(description="ISO 8601, UTC")
    what: str
    who: str = Field(description="empty where no password is set, and so nobody says who he is")
    via: str = Field(description="page, api, webhook (Label Studio) or command")
    address: str
    request: str = Field(description="the id by which the logs tell what came of it")
    details: dict[str, Any]


class Changes(BaseModel):
    """The newest changes."""

    changes: list[Change] = Field(description="the newest first")


@routes.get("/projects/<int:project>/changes", responses={200: Changes})
def index(path: ProjectPath, query: Limit) -> Response:
    """Who changed what, the newest first."""
    check(path.project)
    return answer_of(changes_of(path.project, query.limit))


def changes_of(project: int, limit: int = 100) -> Changes:
    """The newest changes of a project."""
    events = audit.read(service().settings, project, limit)
    return Changes(changes=[Change(**{name: vars(event)[name] for name in Change.model_fields}) for event in events])

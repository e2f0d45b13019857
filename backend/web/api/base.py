"""What every route of the API shares. The routes are a file a topic; `backend.web.app` registers each.

A new topic is three things:

    routes = topic("versions", "Model versions")           # base.py: a blueprint below /api

    @routes.get("/projects/<int:project>/versions", responses={200: Versions})
    def show(path: ProjectPath) -> Response:               # answers.py: Versions, a pydantic model
        return answer_of(versions_of(path.project))        # a plain function, which a page calls too

What a page shows comes from that plain function, so that all of it is in the API. /api/docs describes the routes by
their docstrings, and the models by those of their fields.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from backend.web.access import SAFE
from backend.web.faults import Fault
from backend.web.schemas import DIGITS
from backend.web.service import service

PREFIX = "/api"
BARE = "cancel"  # scripts of earlier releases send no content type to this endpoint


class ProjectPath(BaseModel):
    """Which project."""

    project: int = Field(description="the project's number in Label Studio", ge=0)


class Refusal(BaseModel):
    """Why a request was refused."""

    error: str = Field(description="one line that says what to do")


def topic(name: str, about: str) -> APIBlueprint:
    """A blueprint for the routes of one topic."""
    refusals: Any = dict.fromkeys((400, 404, 503), Refusal)
    routes = APIBlueprint(
        f"api_{name}", __name__, url_prefix=PREFIX, abp_tags=[Tag(name=name, description=about)], abp_responses=refusals
    )
    routes.before_request(_no_form)
    return routes


def answer_of(model: BaseModel) -> Response:
    """The model as JSON; what is no number is null."""
    return Response(model.model_dump_json(), mimetype="application/json")


def check(project: int) -> None:
    """Raise Fault unless there are files or jobs of the project."""
    if not 0 < project < 10**DIGITS:
        raise Fault(404, f"a project's number is above zero and has at most {DIGITS} digits")
    with service().queue():
        if not service().known.here(project):
            raise Fault(404, f"project {project} is not connected: run `mgral connect {project}`")


def _no_form() -> None:
    """Changes are asked for in JSON, which no form of another site can send, whatever its browser tells of itself."""
    if request.method in SAFE or request.mimetype == "application/json":
        return
    if request.mimetype == "" and (request.endpoint or "").endswith(f".{BARE}"):
        return
    raise Fault(415, "say that it is JSON, also where nothing is sent: Content-Type: application/json")

"""The overview of all projects, and the summary of one."""

from __future__ import annotations

from flask import Response
from werkzeug.wrappers import Response as Answer

from backend.web.api import changes
from backend.web.api.base import check
from backend.web.api.projects import overview as overview_of
from backend.web.api.projects import project_of
from backend.web.pages.base import done, page, pages
from backend.web.pages.words import KINDS


@pages.get("")
def overview() -> Response:
    """All projects."""
    return page("overview.html", overview=overview_of())


@pages.get("/projects/<int:project>")
def project(project: int) -> Response:
    """One project."""
    check(project)
    return page("project.html", project=project, one=project_of(project))


@pages.post("/projects/<int:project>/<any(train, rank, predict):kind>")
def ask(project: int, kind: str) -> Answer:
    """Ask for work."""
    check(project)
    asked = changes.ask(kind, project, "page")
    what = KINDS[kind].lower()
    said = f"The {what} is in the queue." if asked.new else f"A {what} is in the queue or running already."
    return done(said, "pages.project", project=project)


@pages.post("/projects/<int:project>/cancel")
def cancel(project: int) -> Answer:
    """Stop what runs, drop what waits."""
    check(project)
    ended = changes.cancel(project, "page").cancelled
    said = "Cancelled. The version that serves goes on serving." if ended else "Nothing was running."
    return done(said, "pages.project", project=project)

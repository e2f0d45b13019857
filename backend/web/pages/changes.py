"""Who changed what in a project."""

from __future__ import annotations

from flask import Response

from backend.web.api.audit import changes_of
from backend.web.api.base import check
from backend.web.pages.base import page, pages


@pages.get("/projects/<int:project>/changes")
def changes(project: int) -> Response:
    """The newest hundred."""
    check(project)
    return page("changes.html", project=project, changes=changes_of(project).changes)

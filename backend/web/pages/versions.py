"""Model versions: the list, one of them, two side by side; letting another one serve."""

from __future__ import annotations

from flask import Response, request
from werkzeug.wrappers import Response as Answer

from backend.web.api import changes
from backend.web.api.base import check
from backend.web.api.comparison import comparison_of
from backend.web.api.versions import known, version_of, versions_of
from backend.web.faults import Fault
from backend.web.pages.base import done, page, pages

TAB = "pages.versions"


@pages.get("/projects/<int:project>/versions")
def versions(project: int) -> Response:
    """All of them."""
    check(project)
    return page("versions.html", project=project, held=versions_of(project))


@pages.get("/projects/<int:project>/versions/<version>")
def version(project: int, version: str) -> Response:
    """One of them."""
    check(project)
    return page("version.html", project=project, one=version_of(project, version), tab=TAB)


@pages.get("/projects/<int:project>/compare")
def compare(project: int) -> Response:
    """Two side by side: those that are named, else the newest and the one that serves, or its parent."""
    check(project)
    listed = versions_of(project).versions
    if len(listed) < 2:
        raise Fault(404, "two versions are needed to compare them: train first")
    ours = request.args.get("ours") or listed[0].name
    serving = next((one.name for one in listed if one.serving), None)
    first = known(project, ours)
    others = [name for name in (serving, first.parent, *(one.name for one in listed)) if name and name != ours]
    theirs = request.args.get("theirs") or next(name for name in others if name in {one.name for one in listed})
    compared = comparison_of(project, ours, theirs)
    spans = [abs(end) for row in compared.rows if row.interval for end in (row.interval.low, row.interval.high)]
    scale = max([*spans, 0.05])
    return page("compare.html", project=project, compared=compared, listed=listed, scale=scale, tab=TAB)


@pages.post("/projects/<int:project>/promote")
def promote(project: int) -> Answer:
    """Let a version serve."""
    check(project)
    name = known(project, request.form.get("version", "")).name
    return done(_sentence(changes.choose(project, name, "page").said), TAB, project=project)


@pages.post("/projects/<int:project>/roll-back")
def roll_back(project: int) -> Answer:
    """Let the version serve that served before."""
    check(project)
    return done(_sentence(changes.choose(project, None, "page").said), TAB, project=project)


def _sentence(line: str) -> str:
    return f"{line[:1].upper()}{line[1:]}."

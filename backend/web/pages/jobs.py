"""Jobs of a project: the queue, the history, one of them with its log."""

from __future__ import annotations

from flask import Response
from werkzeug.wrappers import Response as Answer

from backend.web.api.base import check
from backend.web.api.jobs import job_of, jobs_of, try_again
from backend.web.pages.base import done, page, pages
from backend.web.service import service

TAB = "pages.jobs"


@pages.get("/projects/<int:project>/jobs")
def jobs(project: int) -> Response:
    """What waits and runs, and what has ended."""
    check(project)
    with service().queue() as queue:
        workers = queue.workers()[queue.slow.name]
    return page("jobs.html", project=project, jobs=jobs_of(project), workers=workers)


@pages.get("/projects/<int:project>/jobs/<job>")
def job(project: int, job: str) -> Response:
    """One of them."""
    check(project)
    return page("job.html", project=project, one=job_of(project, job), tab=TAB)


@pages.post("/projects/<int:project>/jobs/<job>/retry")
def retry(project: int, job: str) -> Answer:
    """Ask for the same work again."""
    check(project)
    asked = try_again(project, job, "page")
    said = "It is in the queue again." if asked.new else "The same work is in the queue already."
    return done(said, "pages.job", project=project, job=asked.job)

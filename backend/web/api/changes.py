"""Every change that the API and the pages can make, once; each is noted with who asked for it."""

from __future__ import annotations

from functools import partial

from flask import request

from backend.project import audit
from backend.project.audit import Person, Via, What
from backend.project.choice import choose as choose_version
from backend.queue.enqueue import Jobs
from backend.web.api.answers import Asked, Cancelled, Done
from backend.web.faults import LATER, Fault
from backend.web.service import CHOOSE_SECONDS, service
from model.versions import VersionError


def person(via: Via) -> Person:
    """Whose request is being answered: there is one password, so one user."""
    return Person(service().settings.basic_auth_user, via, request.remote_addr or "")


def ask(kind: str, project: int, via: Via, retry: str | None = None) -> Asked:
    """Ask for a training, a ranking, or the prediction of late tasks. Raises Fault where too much waits.

    Args:
        retry: the job whose work is asked for again.
    """
    with service().queue() as jobs:
        service().make_room()
        job, new = jobs.enqueue(kind, project)
    what: What = "retry" if retry else kind  # type: ignore[assignment]
    _note(project, what, via, job=job.id, new=new, of=retry)
    return Asked(job=job.id, new=new)


def cancel(project: int, via: Via) -> Cancelled:
    """Stop what runs and drop what waits for a project."""
    with service().queue() as jobs:
        ended = [job.id for job in jobs.cancel(project)]
    _note(project, "cancel", via, jobs=", ".join(ended) or "none")
    return Cancelled(cancelled=ended)


def choose(project: int, version: str | None, via: Via) -> Done:
    """Let a version serve, or with None the one that served before; Label Studio shows it then.

    Raises Fault where none served before, or Label Studio takes too long, and BusyError where it does so for others.
    """
    what: What = "promote" if version else "roll back"
    settings, who = service().settings, person(via)

    def work(jobs: Jobs) -> str:
        """Noted here, because it goes on when nobody waits for it any more."""
        chosen, said = choose_version(settings, jobs, project, version)
        audit.record(settings, project, what, who, version=chosen.name)
        return said

    with service().queue() as jobs:
        try:
            return Done(said=service().choosing.run(CHOOSE_SECONDS, partial(work, jobs)))
        except VersionError as error:
            raise Fault(409, str(error)) from None
        except TimeoutError:
            raise Fault(503, "Label Studio is slow: the change goes on, see the versions", LATER) from None


def _note(project: int, what: What, via: Via, **details: str | float | None) -> None:
    audit.record(service().settings, project, what, person(via), **details)

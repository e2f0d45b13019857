"""A small API for people and scripts."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from backend.project.published import Published
from backend.project.serving import store_of
from backend.queue.enqueue import KINDS
from backend.queue.progress import describe
from backend.web.service import service

api = Blueprint("api", __name__, url_prefix="/api")


@api.get("/projects/<int:project>")
def show(project: int) -> Response:
    """What is live, which versions there are, and what is being done."""
    settings, jobs = service().settings, service().jobs
    live = Published(settings.model_dir / str(project)).current()
    newest = [job for kind in KINDS if (job := jobs.last(kind, project))]
    return jsonify(
        project=project,
        live=vars(live) if live else None,
        versions=[{"name": v.name, "metrics": v.metrics, "note": v.note} for v in store_of(settings, project).list()],
        jobs=[describe(job) for job in newest],
        variants=[describe(job) for job in jobs.variants(project)],
    )


@api.post("/projects/<int:project>/cancel")
def cancel(project: int) -> Response:
    """Stop what runs and drop what waits for a project."""
    return jsonify(cancelled=[job.id for job in service().jobs.cancel(project)])

"""The protocol server: Label Studio's routes around the plugin, and a small API for people and scripts.

Nothing here loads a model but /predict. Webhooks only enqueue: they run inside an annotator's submit, with one second
to answer.
"""

from __future__ import annotations

import hmac
import logging
from typing import Any

import redis
from flask import Flask, Response, jsonify, request
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus
from werkzeug.exceptions import HTTPException

from backend.jobs.reconciliation import due
from backend.label_studio.client import StudioAway, StudioError
from backend.label_studio.labels import LabelConfig, LabelConfigError
from backend.plugin import MgralBackend
from backend.project.published import Published
from backend.project.serving import store_of
from backend.queue.enqueue import Jobs
from backend.queue.progress import describe
from backend.settings import Settings, get_settings
from model.detectors.base import WeightsError

log = logging.getLogger(__name__)

NOT_READY = "not ready: the first ranking is being made"
COUNTING = {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"}
STATUS = {
    JobStatus.QUEUED: "queued",
    JobStatus.DEFERRED: "queued",
    JobStatus.SCHEDULED: "queued",
    JobStatus.STARTED: "started",
    JobStatus.FINISHED: "finished",
}


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application."""
    settings = settings or get_settings()
    app = Flask("mgral")
    jobs = Jobs(settings)

    @app.before_request
    def _authorize() -> tuple[Response, int] | None:
        if not settings.basic_auth_user or request.path in ("/", "/health"):
            return None
        wanted = settings.authorization["Authorization"]
        if hmac.compare_digest(request.headers.get("Authorization", "").encode(), wanted.encode()):
            return None
        return jsonify(error="wrong or missing user and password: run `mgral connect` again after changing them"), 401

    @app.get("/")
    @app.get("/health")
    def _health() -> Response:
        return jsonify(status="UP", model_class="MgralBackend")

    @app.post("/setup")
    def _setup() -> Response:
        body = _body()
        project = _project_id(body.get("project"))
        LabelConfig.parse(body.get("schema") or "")
        live = Published(settings.model_dir / str(project)).current()
        if live is None:
            try:
                jobs.enqueue("rank", project)
            except redis.RedisError as error:
                log.error("project %d: no first ranking, because Redis is away (%s): start it", project, error)
        return jsonify(model_version=live.model_version if live else NOT_READY)

    @app.post("/predict")
    def _predict() -> Response:
        body = _body()
        plugin = MgralBackend(label_config=body.get("label_config"))
        params = body.get("params") or {}
        return jsonify(results=plugin.predict(body.get("tasks") or [], context=params.get("context")))

    @app.post("/webhook")
    def _webhook() -> tuple[Response, int]:
        body = _body()
        action, info = body.get("action"), body.get("project")
        if not isinstance(info, dict) or "id" not in info:
            return jsonify(error=f"event {action!r} names no project"), 400
        project = int(info["id"])
        if action == "START_TRAINING":
            job_id = MgralBackend().fit(event=action, data=body)["job"]
        elif action in COUNTING and due(settings, jobs, project, int(info.get("total_annotations_number") or 0)):
            job_id = jobs.enqueue("train", project)[0].id
        elif action == "TASKS_CREATED":
            job_id = jobs.enqueue("predict", project)[0].id
        else:  # PROJECT_UPDATED above all: our own switch of the order causes it
            return jsonify(ignored=action), 200
        return jsonify(job=job_id), 201

    @app.get("/versions")
    def _versions() -> Response:
        """Label Studio names no project here: the versions of all of them."""
        folders = settings.model_dir.glob("*/published.json")
        live = [entry.model_version for folder in sorted(folders) for entry in Published(folder.parent).history()]
        return jsonify(versions=live[::-1])

    @app.post("/job_status")
    def _job_status() -> tuple[Response, int]:
        job_id = str(_body().get("job"))
        try:
            job = Job.fetch(job_id, connection=jobs.connection)
        except NoSuchJobError:
            return jsonify(error=f"job {job_id} is not known any more"), 410
        status = job.get_status()
        return jsonify(job_status=STATUS.get(status, "failed") if status else "failed", **describe(job)), 200

    @app.get("/api/projects/<int:project>")
    def _project(project: int) -> Response:
        """What is live, which versions there are, and what is being done."""
        live = Published(settings.model_dir / str(project)).current()
        running = [job for kind in ("train", "rank", "predict") if (job := jobs.last(kind, project))]
        return jsonify(
            project=project,
            live=vars(live) if live else None,
            versions=[
                {"name": v.name, "metrics": v.metrics, "note": v.note} for v in store_of(settings, project).list()
            ],
            jobs=[describe(job) for job in running],
            variants=[describe(job) for job in jobs.variants(project)],
        )

    @app.post("/api/projects/<int:project>/cancel")
    def _cancel(project: int) -> Response:
        return jsonify(cancelled=[job.id for job in jobs.cancel(project)])

    @app.errorhandler(Exception)
    def _failed(error: Exception) -> tuple[Response, int]:
        if isinstance(error, HTTPException):
            return jsonify(error=error.description), error.code or 500
        if isinstance(error, redis.RedisError):
            line = f"Redis at {settings.redis_url} is away ({error}): start it, or set REDIS_URL"
            log.error("%s", line)
            return jsonify(error=line), 503
        known = {LabelConfigError: 400, WeightsError: 500, StudioAway: 503, StudioError: 502}
        for kind, status in known.items():
            if isinstance(error, kind):
                log.warning("%s %s: %s", request.method, request.path, error)
                return jsonify(error=str(error)), status
        log.error("%s %s", request.method, request.path, exc_info=error)
        return jsonify(error=f"{type(error).__name__}: {error}"), 500

    return app


def _body() -> dict[str, Any]:
    body = request.get_json(force=True, silent=True)
    return body if isinstance(body, dict) else {}


def _project_id(value: Any) -> int:
    """The id in Label Studio's "<id>.<timestamp>"."""
    digits = str(value or "").partition(".")[0]
    if not digits.isdigit():
        raise LabelConfigError(f"project {value!r}: not of the form <id>.<timestamp>")
    return int(digits)

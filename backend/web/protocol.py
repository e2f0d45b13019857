"""Label Studio's ML backend protocol. Webhooks only enqueue: an annotator's submit waits for them, a second at most."""

from __future__ import annotations

import logging
from typing import Any

import redis
from flask import Blueprint, Response, jsonify
from rq.exceptions import NoSuchJobError
from rq.job import Job, JobStatus

from backend.jobs.reconciliation import due
from backend.label_studio.labels import LabelConfig, LabelConfigError
from backend.plugin import MgralBackend
from backend.project.published import Published
from backend.queue.progress import describe
from backend.web.service import body, service

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

protocol = Blueprint("protocol", __name__)


@protocol.get("/")
@protocol.get("/health")
def health() -> Response:
    """Asked before everything, very often."""
    return jsonify(status="UP", model_class="MgralBackend")


@protocol.post("/setup")
def setup() -> Response:
    """The model version that Label Studio is to expect; loads no model."""
    sent = body()
    project = _project_id(sent.get("project"))
    LabelConfig.parse(sent.get("schema") or "")
    live = Published(service().settings.model_dir / str(project)).current()
    if live is None:
        try:
            service().jobs.enqueue("rank", project)
        except redis.RedisError as error:
            log.error("project %d: no first ranking, because Redis is away (%s): start it", project, error)
    return jsonify(model_version=live.model_version if live else NOT_READY)


@protocol.post("/predict")
def predict() -> Response:
    """One answer a task, in order."""
    sent = body()
    plugin = MgralBackend(label_config=sent.get("label_config"))
    params = sent.get("params") or {}
    return jsonify(results=plugin.predict(sent.get("tasks") or [], context=params.get("context")))


@protocol.post("/webhook")
def webhook() -> tuple[Response, int]:
    """Enqueue what an event asks for."""
    sent, jobs = body(), service().jobs
    action, info = sent.get("action"), sent.get("project")
    if not isinstance(info, dict) or "id" not in info:
        return jsonify(error=f"event {action!r} names no project"), 400
    project = int(info["id"])
    annotations = int(info.get("total_annotations_number") or 0)
    if action == "START_TRAINING":
        job_id = MgralBackend().fit(event=action, data=sent)["job"]
    elif action in COUNTING and due(service().settings, jobs, project, annotations):
        job_id = jobs.enqueue("train", project)[0].id
    elif action == "TASKS_CREATED":
        job_id = jobs.enqueue("predict", project)[0].id
    else:  # PROJECT_UPDATED above all: our own switch of the order causes it
        return jsonify(ignored=action), 200
    return jsonify(job=job_id), 201


@protocol.get("/versions")
def versions() -> Response:
    """Label Studio names no project here: the versions of all of them, newest first."""
    folders = service().settings.model_dir.glob("*/published.json")
    states = [state.model_version for folder in sorted(folders) for state in Published(folder.parent).history()]
    return jsonify(versions=states[::-1])


@protocol.post("/job_status")
def job_status() -> tuple[Response, int]:
    """How far a job is; 410 where it is not known any more."""
    job_id = str(body().get("job"))
    try:
        job = Job.fetch(job_id, connection=service().jobs.connection)
    except NoSuchJobError:
        return jsonify(error=f"job {job_id} is not known any more"), 410
    status = job.get_status()
    return jsonify(job_status=STATUS.get(status, "failed") if status else "failed", **describe(job)), 200


def _project_id(value: Any) -> int:
    """The id in Label Studio's "<id>.<timestamp>"."""
    digits = str(value or "").partition(".")[0]
    if not digits.isdigit():
        raise LabelConfigError(f"project {value!r}: not of the form <id>.<timestamp>")
    return int(digits)

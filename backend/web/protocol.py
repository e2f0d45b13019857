"""Label Studio's ML backend protocol. Webhooks only enqueue: an annotator's submit waits for them, a second at most."""

from __future__ import annotations

import logging

import redis
from flask import Blueprint, Response, current_app, jsonify, request
from rq.exceptions import DeserializationError, NoSuchJobError

from backend.jobs.reconciliation import due
from backend.plugin import NOT_READY, MgralBackend, parsed, project_of
from backend.project.audit import LABEL_STUDIO, Person, record
from backend.project.boxes.outdated import other_config
from backend.project.serving import projects, published_of
from backend.queue.enqueue import Jobs
from backend.queue.job import Json, MgralJob
from backend.queue.progress import describe
from backend.web import schemas
from backend.web.faults import Fault
from backend.web.service import service
from model.versions import VersionError

log = logging.getLogger(__name__)

COUNTING = {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED"}
STATUS = {"queued": "queued", "deferred": "queued", "scheduled": "queued", "started": "started", "finished": "finished"}

protocol = Blueprint("protocol", __name__)


@protocol.get("/")
@protocol.get("/health")
def health() -> Response:
    """Asked before everything, very often."""
    return jsonify(status="UP", model_class="MgralBackend")


@protocol.post("/setup")
def setup() -> Response:
    """The model version that Label Studio is to expect; loads no model, and does not need Redis."""
    sent = schemas.read(schemas.Setup)
    for line in parsed(sent.label_config).remarks:
        log.warning("project %d: %s", sent.project, line)
    version = service().version(sent.project)
    begins = version == NOT_READY and service().may_begin(sent.project)
    if begins or version not in (NOT_READY, None):  # a made-up project has no card
        current_app.extensions["cards"].note(sent.project, request.host)
    if begins:
        try:
            with service().queue() as jobs:
                jobs.enqueue("rank", sent.project)
        except redis.RedisError as error:
            log.error("project %d: no first ranking, because Redis is away (%s): start it", sent.project, error)
    return jsonify(model_version=version or NOT_READY)


@protocol.post("/predict")
def predict() -> Response:
    """One answer a task, in order."""
    sent = schemas.read(schemas.Predict)
    tasks = [task.model_dump() for task in sent.tasks]
    plugin = MgralBackend(label_config=sent.label_config, project_id=project_of(tasks, sent.project))
    plugin.jobs, plugin.may_begin = service().jobs, service().may_begin
    drawing = sent.params.context if sent.params else None
    return jsonify(results=plugin.predict(tasks, context=drawing.model_dump() if drawing else None))


@protocol.post("/webhook")
def webhook() -> tuple[Response, int]:
    """Enqueue what an event asks for."""
    event = schemas.read(schemas.Event)
    project = event.project.id
    if event.action not in {"START_TRAINING", "TASKS_CREATED", "PROJECT_UPDATED", *COUNTING}:
        return jsonify(ignored=event.action), 200
    with service().queue() as jobs:
        service().known.check(project)
        kind = _asked_for(event, jobs)
        if kind is None:  # PROJECT_UPDATED above all: our own switch of the order causes it
            return jsonify(ignored=event.action), 200
        service().make_room()
        job, new = jobs.enqueue(kind, project)
    log.info("project %d: %s %s by %s", project, kind, "queued" if new else "queued already", event.action)
    if event.action == "START_TRAINING":
        person = Person(LABEL_STUDIO, "webhook", request.remote_addr or "")
        record(service().settings, project, "train", person, job=job.id, new=new)
    return jsonify(job=job.id), 201


def _asked_for(event: schemas.Event, jobs: Jobs) -> str | None:
    """The kind of job that an event asks for, if any."""
    project = event.project
    if event.action == "START_TRAINING":
        return "train"
    if event.action == "TASKS_CREATED":
        return "predict"
    if event.action == "PROJECT_UPDATED":
        return "rank" if _other_boxes(project.id, project.label_config) else None
    annotations = project.total_annotations_number or 0
    return "train" if due(service().settings, jobs, project.id, annotations) else None


def _other_boxes(project: int, label_config: str | None) -> bool:
    """Whether the label config was changed, so that it asks for other boxes than those that are shown."""
    try:
        return bool(label_config) and other_config(service().settings, project, parsed(label_config or ""))
    except (ValueError, VersionError) as error:  # the config, or a damaged file
        log.warning("project %d: %s", project, error)
        return False


@protocol.get("/versions")
def versions() -> Response:
    """Label Studio names no project here: the versions of all of them, of each the newest first."""
    settings = service().settings
    states: list[str] = []
    for project in projects(settings):
        try:
            states += [state.model_version for state in published_of(settings, project).history()]
        except OSError as error:  # the other projects' are still good
            log.error("%s", error)
    return jsonify(versions=states[::-1])


@protocol.post("/job_status")
def job_status() -> tuple[Response, int]:
    """How far a job is; 410 where it is not known any more."""
    job_id = schemas.read(schemas.JobStatus).job
    try:
        with service().queue() as jobs:
            told = describe(MgralJob.fetch(job_id, connection=jobs.connection, serializer=Json))
    except (NoSuchJobError, DeserializationError, redis.ResponseError, ValueError, KeyError):  # none of ours
        raise Fault(410, f"job {job_id} is not known any more") from None
    return jsonify(job_status=STATUS.get(told["status"], "failed"), **told), 200

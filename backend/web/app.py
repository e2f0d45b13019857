"""The server: Label Studio's protocol and a small API. Nothing loads a model but /predict."""

from __future__ import annotations

import hmac
import logging

import redis
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

from backend.label_studio.client import StudioAway, StudioError
from backend.label_studio.labels import LabelConfigError
from backend.queue.enqueue import Jobs
from backend.settings import Settings, get_settings
from backend.web.api import api
from backend.web.protocol import protocol
from backend.web.service import EXTENSION, Service, service
from model.detectors.base import WeightsError

log = logging.getLogger(__name__)

OPEN = ("/", "/health")  # routes that ask for no password
STATUS: dict[type[Exception], int] = {LabelConfigError: 400, WeightsError: 500, StudioAway: 503, StudioError: 502}


def create_app(settings: Settings | None = None) -> Flask:
    """The WSGI application."""
    settings = settings or get_settings()
    app = Flask("mgral")
    app.extensions[EXTENSION] = Service(settings, Jobs(settings))
    app.before_request(_authorize)
    app.register_blueprint(protocol)
    app.register_blueprint(api)
    app.register_error_handler(Exception, _failed)
    return app


def _authorize() -> tuple[Response, int] | None:
    """Refuse a request without the right user and password, where some are set."""
    header = service().settings.authorization.get("Authorization")
    if header is None or request.path in OPEN:
        return None
    if hmac.compare_digest(request.headers.get("Authorization", "").encode(), header.encode()):
        return None
    return jsonify(error="wrong or missing user and password: run `mgral connect` again after changing them"), 401


def _failed(error: Exception) -> tuple[Response, int]:
    """One line that says what to do, instead of a page."""
    if isinstance(error, HTTPException):
        return jsonify(error=error.description), error.code or 500
    if isinstance(error, redis.RedisError):
        line = f"Redis at {service().settings.redis_url} is away ({error}): start it, or set REDIS_URL"
        log.error("%s", line)
        return jsonify(error=line), 503
    for kind, status in STATUS.items():
        if isinstance(error, kind):
            log.warning("%s %s: %s", request.method, request.path, error)
            return jsonify(error=str(error)), status
    log.error("%s %s", request.method, request.path, exc_info=error)
    return jsonify(error=f"{type(error).__name__}: {error}"), 500

"""The WSGI application: Label Studio's protocol, pages for admins, the API under them. Only /predict loads a model."""

from __future__ import annotations

from flask import Flask, Response
from flask_openapi3 import Info, OpenAPI

from backend.settings import Settings, get_settings
from backend.web.api import agent, audit, comparison, corrections, curve, jobs, order, projects, versions
from backend.web.faults import answer, refused
from backend.web.pages import changes as _changes  # noqa: F401  each adds its routes
from backend.web.pages import insight as _insight  # noqa: F401
from backend.web.pages import jobs as _jobs  # noqa: F401
from backend.web.pages import projects as _projects  # noqa: F401
from backend.web.pages import versions as _versions  # noqa: F401
from backend.web.pages.base import pages
from backend.web.pages.docs import docs
from backend.web.protocol import protocol
from backend.web.service import EXTENSION, Service
from backend.web.watch.attach import watch

FOR_BROWSERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY"}
TOPICS = (
    projects.routes,
    versions.routes,
    comparison.routes,
    order.routes,
    corrections.routes,
    curve.routes,
    agent.routes,
    jobs.routes,
    audit.routes,
)
"""of the API, in the order of /api/docs"""


def create_app(settings: Settings | None = None) -> Flask:
    """The application; without settings those of the environment."""
    settings = settings or get_settings()
    app = OpenAPI(
        "mgral",
        info=Info(title="MGRAL", version="1", description="What the pages at /ui show and change."),
        validation_error_status=400,
        validation_error_callback=lambda error: answer(refused(error)),
        doc_ui=False,
        static_folder=None,
    )
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body
    app.url_map.merge_slashes = False
    service = app.extensions[EXTENSION] = Service(settings)
    watch(app, settings)
    app.before_request(service.access.check)
    app.after_request(_for_browsers)
    app.register_blueprint(protocol)
    for routes in TOPICS:
        app.register_api(routes)
    app.register_blueprint(docs)
    app.register_blueprint(pages)
    app.register_error_handler(Exception, answer)
    return app


def _for_browsers(response: Response) -> Response:
    """What a browser does not guess, keep or show in a frame."""
    for name, value in FOR_BROWSERS.items():
        response.headers.setdefault(name, value)
    return response

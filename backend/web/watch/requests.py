"""Every request has an id, is counted, and is timed."""

from __future__ import annotations

import logging
import time

from flask import Flask, Response, g, request

from backend import counters
from backend.request_id import HEADER, begin, end, request_id

log = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NOWHERE = "unknown"  # the route of an address that there is not; strangers ask for any number of them


def follow(app: Flask) -> None:
    """Call this before whatever else looks at requests."""
    app.before_request(_begin)
    app.after_request(_answered)
    app.teardown_request(_end)


def _begin() -> None:
    begin(request.headers.get(HEADER))
    g.began = time.monotonic()


def _answered(response: Response) -> Response:
    seconds = time.monotonic() - g.began
    route = request.url_rule.rule if request.url_rule is not None else NOWHERE
    method = request.method if request.method in METHODS else "other"
    counters.REQUESTS.labels(method, route, str(response.status_code)).inc()
    counters.REQUEST_SECONDS.labels(route).observe(seconds)
    log.debug("%s %s: %d in %.3f s", request.method, request.path, response.status_code, seconds)
    response.headers[HEADER] = request_id()
    return response


def _end(_: BaseException | None) -> None:
    end()

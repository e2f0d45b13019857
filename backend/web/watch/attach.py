"""What an application needs to be watched."""

from __future__ import annotations

from flask import Flask

from backend.settings import Settings
from backend.web.watch.cards import Cards
from backend.web.watch.metrics import Scrape, metrics
from backend.web.watch.ready import Readiness, ready
from backend.web.watch.requests import follow


def watch(app: Flask, settings: Settings) -> None:
    """Give each request an id and count it; add /metrics and /ready. Call it before what refuses requests."""
    follow(app)
    app.extensions |= {"scrape": Scrape(settings), "readiness": Readiness(settings), "cards": Cards(settings)}
    app.register_blueprint(metrics)
    app.register_blueprint(ready)

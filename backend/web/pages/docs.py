"""/api/docs: the API for people, drawn by Swagger UI; /api/openapi.json: the same for programs.

Swagger UI comes from the package flask-openapi3-swagger, so no other server is asked. Its page there has scripts in the
HTML, which our Content-Security-Policy forbids: the page is ours.
"""

from __future__ import annotations

from importlib.resources import files

from flask import Blueprint, Response, current_app, jsonify, render_template, send_from_directory
from flask_openapi3 import OpenAPI

from backend.web.pages.base import policy

ASSETS = {"swagger-ui.css": "css", "swagger-ui-bundle.js": "js"}

docs = Blueprint("api_docs", __name__, url_prefix="/api")
docs.after_request(policy)


@docs.get("/openapi.json")
def document() -> Response:
    """OpenAPI 3.1."""
    assert isinstance(current_app, OpenAPI)
    return jsonify(current_app.api_doc)


@docs.get("/docs")
def page() -> str:
    """For people."""
    return render_template("api.html")


@docs.get("/docs/<any('swagger-ui.css','swagger-ui-bundle.js'):name>")
def asset(name: str) -> Response:
    """Of Swagger UI."""
    folder = files("flask_openapi3_swagger") / "templates" / "swagger" / ASSETS[name]
    return send_from_directory(str(folder), name)

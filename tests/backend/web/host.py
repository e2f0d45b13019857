"""What label-studio-ml 2.x does with a subclass, as it was seen doing it; of its own there is nothing here.

Its package is not in the registry, so the calls are played: the constructor reads the config, asks `get` for a version
before the subclass had a word, sets one where there is none, and calls `setup`. What it keeps lies in a file there, and
in a dictionary here.
"""

from __future__ import annotations

from typing import Any, ClassVar

from flask import Flask, jsonify, request
from flask.typing import ResponseReturnValue
from label_studio_sdk.label_interface import LabelInterface

TRAINING = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATION_DELETED", "START_TRAINING")


class Base:
    """In the place of `LabelStudioMLBase`."""

    kept: ClassVar[dict[tuple[str, str], str]] = {}

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.project_id = project_id or ""
        if label_config is not None:
            self.label_interface = LabelInterface(config=label_config)
            if self.get("label_config") != label_config:
                self.set("label_config", label_config)
        if not self.model_version:
            self.set("model_version", "0.0.1")
        self.setup()

    def setup(self) -> None:
        """For subclasses."""

    def get(self, key: str) -> str | None:
        """What was kept."""
        return self.kept.get((self.project_id, key))

    def set(self, key: str, value: str) -> None:
        """Keep a text, and nothing else."""
        if not isinstance(value, str):
            raise ValueError("Value must be a string")
        self.kept[self.project_id, key] = value

    @property
    def label_config(self) -> str | None:
        """The last one of the project: nothing can be assigned to it."""
        return self.get("label_config")

    @property
    def model_version(self) -> str | None:
        """What `get` says."""
        return self.get("model_version")

    def set_extra_params(self, extra_params: str) -> None:
        """Text from the project's settings."""
        self.set("extra_params", extra_params)


def serve(model_class: Any) -> Flask:
    """Its server: each request makes an instance."""
    app = Flask("host")
    app.testing = True  # what a request raises, a test sees

    @app.post("/predict")
    def predict() -> ResponseReturnValue:
        data = request.get_json()
        params = data.get("params", {})
        context = params.pop("context", {})
        project_id = str(data.get("project")).split(".", 1)[0]
        model = model_class(project_id=project_id, label_config=data.get("label_config"))
        answer = model.predict(data.get("tasks"), context=context, **params)
        return jsonify({"results": answer})

    @app.post("/setup")
    def setup() -> ResponseReturnValue:
        data = request.get_json()
        model = model_class(project_id=data["project"].split(".", 1)[0], label_config=data.get("schema"))
        if data.get("extra_params"):
            model.set_extra_params(data["extra_params"])
        return jsonify({"model_version": model.get("model_version")})

    @app.post("/webhook")
    def webhook() -> ResponseReturnValue:
        data = request.get_json()
        event = data.pop("action")
        if event not in TRAINING:
            return jsonify({"status": "Unknown event"}), 200
        model = model_class(str(data["project"]["id"]), label_config=data["project"]["label_config"])
        return jsonify({"result": model.fit(event, data), "status": "ok"}), 201

    return app

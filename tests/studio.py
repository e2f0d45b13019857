"""What the jobs ask of Label Studio, answered from memory: for tests of what is ours. How it really answers is seen in
tests/e2e."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from backend.label_studio.client import ORDERED


@dataclass
class HeldProject:
    """A project as Label Studio holds it: tasks, their annotations and predictions."""

    config: str
    images: dict[int, Path]
    annotations: dict[int, list[dict]] = field(default_factory=dict)
    predictions: list[dict] = field(default_factory=list)
    model_version: str = ""
    sampling: str = "Sequential sampling"

    def about(self, number: int) -> dict[str, Any]:
        """GET /api/projects/<number>/"""
        return {
            "id": number,
            "label_config": self.config,
            "task_number": len(self.images),
            "num_tasks_with_annotations": sum(map(bool, self.annotations.values())),
            "total_annotations_number": sum(map(len, self.annotations.values())),
            "model_version": self.model_version,
            "sampling": self.sampling,
        }

    def rows(self, number: int) -> list[dict[str, Any]]:
        """The tasks, by rising id."""
        return [
            {
                "id": task,
                "project": number,
                "data": {"image": f"/data/upload/{number}/{task}.png"},
                "annotations": self.annotations.get(task, []),
                "predictions": [held for held in self.predictions if held["task"] == task],
            }
            for task in sorted(self.images)
        ]

    def counts(self) -> dict[str, int]:
        """Predictions by model version."""
        names = [held["model_version"] for held in self.predictions]
        return {name: names.count(name) for name in names}


class HeldStudio(ThreadingHTTPServer):
    """Answers at `url` while it is used as a context manager; `projects` by number."""

    daemon_threads = True

    def __init__(self, projects: dict[int, HeldProject]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.projects = projects
        self.backends: list[dict[str, Any]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: HeldStudio
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        status, content = self._content(url.path.strip("/").split("/"), query, json.loads(body or b"null"))
        kind = "image/png" if isinstance(content, bytes) else "application/json"
        sent = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        self.wfile.write(sent)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any  # noqa: N815  http.server's names

    def _content(self, path: list[str], query: dict[str, str], body: Any) -> tuple[int, Any]:
        projects = self.server.projects
        if path[:2] == ["data", "upload"]:
            return 200, projects[int(path[2])].images[int(path[3].partition(".")[0])].read_bytes()
        if path == ["api", "tasks"]:
            number = int(query["project"])
            rows = [row for row in projects[number].rows(number) if _fits(row, json.loads(query["query"]))]
            return 200, {"tasks": rows[: int(query["page_size"])], "total": len(rows)}
        if path[:2] == ["api", "ml"]:
            held = self.server.backends
            if self.command == "PATCH":
                next(row for row in held if row["id"] == int(path[2])).update(body)
            return 200, held
        if path[:2] != ["api", "projects"] or int(path[2]) not in projects:
            return 404, {"detail": "Not found."}
        project = projects[int(path[2])]
        if path[3:] == ["model-versions"]:
            if self.command == "DELETE":
                kept = [held for held in project.predictions if held["model_version"] != body["model_version"]]
                gone, project.predictions = len(project.predictions) - len(kept), kept
                return 200, {"deleted_predictions": gone}
            return 200, project.counts()
        if path[3:] == ["import", "predictions"]:
            for item in body:
                project.predictions.append(item | {"id": len(project.predictions) + 1})
            return 201, {"created": len(body)}
        if self.command == "PATCH":
            if body.get("model_version", "") not in {"", *project.counts()}:
                return 400, {"detail": "no predictions of this model version"}
            project.model_version = body.get("model_version", project.model_version)
            project.sampling = body.get("sampling", ORDERED)
        return 200, project.about(int(path[2]))

    def log_message(self, *arguments: object) -> None:
        """Be quiet."""


def _fits(row: dict[str, Any], query: dict[str, Any]) -> bool:
    """Whether a task fits the filters of a query."""
    held = {prediction["model_version"] for prediction in row["predictions"]}
    for rule in query["filters"]["items"]:
        column, wanted = rule["filter"].rpartition(":")[2], rule["value"]
        if column == "predictions_model_versions":
            if bool(held & set(wanted)) != (rule["operator"] == "contains"):
                return False
        elif not (row["id"] if column == "id" else len(row["annotations"])) > wanted:
            return False
    return True

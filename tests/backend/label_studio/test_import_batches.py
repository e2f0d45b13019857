"""In how many requests predictions are imported."""

from __future__ import annotations

import json

import pytest

from backend.label_studio import client
from backend.label_studio.client import Studio
from tests.backend.label_studio.web import TOKEN, Answer, running

IMPORT = "/api/projects/1/import/predictions"


def item(task: int, size: int = 0) -> dict:
    return {"task": task, "result": ["x" * size], "score": 0.5, "model_version": "v1-r001"}


def sent(sizes: list[int]) -> list[int]:
    """How many items each request carried."""
    with running() as server:
        lengths = [len(batch) for batch in client._batches(item(k, size) for k, size in enumerate(sizes))]
        server.answers[IMPORT] = [Answer(201, json.dumps({"created": count}).encode()) for count in lengths]
        stored, deleted = Studio(server.url, TOKEN).import_predictions(
            1, (item(k, size) for k, size in enumerate(sizes)), len(sizes)
        )
        assert (stored, deleted) == (len(sizes), [])
        return [len(json.loads(body)) for body in server.bodies]


def test_few_requests_by_count_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sent([0] * 2500) == [2500]
    monkeypatch.setattr(client, "IMPORT_BATCH", 1000)
    assert sent([0] * 2500) == [1000, 1000, 500]
    monkeypatch.setattr(client, "IMPORT_BYTES", 10_000)
    assert sent([6000] * 5) == [2, 2, 1]
    assert sent([]) == []

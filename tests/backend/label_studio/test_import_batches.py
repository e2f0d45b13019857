"""In how many requests predictions are imported."""

from __future__ import annotations

import json

import pytest

from backend.label_studio import client
from backend.label_studio.client import Studio, StudioAway, StudioError
from tests.backend.label_studio.web import PAGE, TOKEN, Answer, running

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


def created(count: int) -> Answer:
    return Answer(201, json.dumps({"created": count}).encode())


def test_a_proxy_that_takes_no_request_of_that_size_gets_halves() -> None:
    with running() as server:
        server.answers[IMPORT] = [
            Answer(413, PAGE),  # of all seven
            created(3),
            Answer(413, PAGE),  # of the other four
            created(2),
            Answer(400, b'{"detail": "invalid task ids"}'),  # one of the last two is gone
            created(1),
        ]
        listed = json.dumps({"tasks": [{"id": task} for task in range(1, 7)], "total": 6})
        server.answers["/api/tasks"] = [Answer(200, listed.encode())]
        stored, deleted = Studio(server.url, TOKEN).import_predictions(1, map(item, range(1, 8)), 7)
        imports = [body for (path, _), body in zip(server.asked, server.bodies, strict=True) if path == IMPORT]
        tasks = [[one["task"] for one in json.loads(body)] for body in imports]
    assert (stored, deleted) == (6, [7])
    assert tasks == [[1, 2, 3, 4, 5, 6, 7], [1, 2, 3], [4, 5, 6, 7], [4, 5], [6, 7], [6]]


def test_one_prediction_that_is_too_large_says_which_limit_to_raise() -> None:
    with running() as server:
        server.answers[IMPORT] = [Answer(413, PAGE)]
        with pytest.raises(StudioError, match="client_max_body_size"):
            Studio(server.url, TOKEN).import_predictions(1, [item(1)], 1)


def test_an_import_that_is_answered_without_a_body_may_have_been_done() -> None:
    with running() as server:
        server.answers[IMPORT] = [Answer(201, b"")]
        with pytest.raises(StudioAway, match="without a body"):
            Studio(server.url, TOKEN).import_predictions(1, [item(1)], 1)
        assert len(server.asked) == 1

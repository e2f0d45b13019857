"""Machines that share nothing but a bucket and Redis run a whole cycle: two workers and a backend."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from backend.commands.local import LocalStack
from backend.project.serving import published_of, store_of
from backend.queue.enqueue import Jobs
from tests.e2e.conftest import TRAINING, Project, until
from tests.e2e.test_cycle import AGENT
from tests.s3 import place, s3_service


@pytest.fixture
def machines(stack: LocalStack, tmp_path: Path) -> Iterator[tuple[LocalStack, dict[str, str]]]:
    """A second installation beside the same Label Studio, each process with directories of its own."""
    directory = Path(tempfile.mkdtemp(prefix="mgral-bucket-", dir="/tmp"))  # a Unix socket's path must be short
    stack.stop("work")  # its memory and its core
    try:
        with s3_service(), LocalStack(directory) as other:
            other.label_studio_url, other.token = stack.label_studio_url, stack.token
            shared = AGENT | {"MODEL_DIR": place("s3", tmp_path), "MGRAL_HINDSIGHT": "1"}
            other.start_redis()
            other.start_backend(**shared, CACHE_DIR=str(directory / "backend"))
            for name in ("one", "two"):
                other.start_worker(name, **shared, CACHE_DIR=str(directory / name))
            yield other, shared
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        stack.start_worker(**TRAINING)


def test_a_whole_cycle_without_a_shared_file(
    make_project: Callable[..., Project], machines: tuple[LocalStack, dict[str, str]]
) -> None:
    other, shared = machines
    settings = other.settings(**shared, CACHE_DIR=str(other.directory / "here"))
    made = make_project("bucket", images=40)
    project = replace(made, settings=settings, jobs=Jobs(settings), backend_url=other.backend_url)
    project.connect()
    project.wait("rank")
    for task in project.order()[:30]:
        project.annotator.label(task)
    project.start_training()
    result = project.wait("train")["result"]
    live = project.live()
    assert result["model_version"] == live.model_version
    assert result["predicted"] == 40
    record = json.loads(store_of(settings, project.id).read(live.version, "ranking.json"))
    assert record["variants"] == 2

    rows = published_of(settings, project.id).predictions(live.model_version).get(record["order"])
    tasks = [{"id": k, "project": project.id, "data": {"image": rows[k][0]}} for k in record["order"]]
    body = {"tasks": tasks, "project": f"{project.id}.1", "label_config": project.info()["label_config"], "params": {}}

    def answer() -> list[float]:
        auth = (settings.basic_auth_user, settings.basic_auth_pass)
        told = requests.post(f"{other.backend_url}/predict", json=body, auth=auth, timeout=60)
        return [each["score"] for each in told.json()["results"]]

    expected = [rows[k][1] for k in record["order"]]
    until(10, lambda: answer() == expected, "the backend to see what is live, which it does within two seconds")
    logs = {name: other.log(name).read_text() for name in ("one", "two")}
    assert all("Successfully completed" in log or "Job OK" in log for log in logs.values()), "one worker did everything"
    assert project.served(5) == record["order"][:5]

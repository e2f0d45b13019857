"""What Label Studio is answered: many tasks at once, tasks of cloud storage, tasks whose label config was changed."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import s3fs

from model.data.dataset import Dataset
from tests.e2e.conftest import SHAPES, Project, until
from tests.s3 import BUCKET, s3_service

MANY = int(os.environ.get("RETRIEVE_TASKS", "600"))  # more than the backend answers at once, and than a page holds


def test_many_tasks_are_each_stored_once(make_project: Callable[..., Project]) -> None:
    project = make_project("retrieve", images=20)
    uploads = [task.data for task in project.studio.tasks(project.id)]
    more = [{"data": uploads[k % len(uploads)]} for k in range(MANY - len(uploads))]
    project.studio.call("POST", f"/api/projects/{project.id}/import", json=more)
    project.connect()
    assert project.wait("rank")["result"]["predicted"] == MANY
    name = project.live().model_version
    assert project.studio.model_versions(project.id) == {name: MANY}

    project.retrieve()  # all are there: nothing is stored twice
    assert project.studio.model_versions(project.id) == {name: MANY}

    project.studio.delete_predictions(project.id, name)
    start = time.monotonic()
    project.retrieve()
    until(100, lambda: project.studio.model_versions(project.id).get(name) == MANY, f"{MANY} predictions")
    seconds = time.monotonic() - start
    print(f"retrieved {MANY} predictions in {seconds:.1f} s")
    assert seconds < 100
    counts = Counter(p["task"] for p in project.predictions())
    assert len(counts) == MANY
    assert set(counts.values()) == {1}


def test_tasks_that_nobody_predicted_are_handed_to_the_worker(make_project: Callable[..., Project]) -> None:
    project = make_project("hand over", images=4)
    project.connect()
    project.wait("rank")
    name = project.live().model_version
    uploads = [task.data for task in project.studio.tasks(project.id)]
    more = [{"data": uploads[k % 4]} for k in range(36)]
    project.studio.call("POST", f"/api/projects/{project.id}/import", json=more)
    project.retrieve()
    until(120, lambda: project.studio.model_versions(project.id).get(name) == 40, "40 predictions")
    assert set(Counter(p["task"] for p in project.predictions()).values()) == {1}


@pytest.fixture(scope="module")
def cloud(make_project: Callable[..., Project], scenes: Dataset) -> Iterator[Project]:
    """A project whose images lie in a bucket, ranked."""
    project = make_project("cloud storage", images=0, config=SHAPES)
    with s3_service() as address:
        files = s3fs.S3FileSystem(skip_instance_cache=True, endpoint_url=address)
        for image in scenes.images[:8]:
            files.put(str(image.path), f"{BUCKET}/cloud/{image.path.name}")
        bucket = {"bucket": BUCKET, "prefix": "cloud", "use_blob_urls": True, "s3_endpoint": address}
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        storage = project.studio.call(
            "POST", "/api/storages/s3", json={"project": project.id, "regex_filter": ".*", **bucket, **keys}
        )
        project.studio.call("POST", f"/api/storages/s3/{storage['id']}/sync", json={})
        project.connect()
        assert project.wait("rank")["result"]["predicted"] == 8
        yield project


def test_what_lies_in_cloud_storage_keeps_its_place(cloud: Project) -> None:
    stored = {p["task"]: (p["score"], p["result"]) for p in cloud.predictions()}
    assert sorted(score for score, _ in stored.values()) == [(place + 0.5) / 8 for place in range(8)]
    cloud.studio.delete_predictions(cloud.id, cloud.live().model_version)
    cloud.retrieve()  # which sends s3://, and not the addresses that lists have
    assert {p["task"]: (p["score"], p["result"]) for p in cloud.predictions()} == stored


def test_boxes_follow_the_label_config(cloud: Project) -> None:
    before = cloud.live()
    old = {box["value"]["rectanglelabels"][0] for p in cloud.predictions() for box in p["result"]}
    assert "round sign" in old
    config = SHAPES.replace('value="round sign"', 'value="Round"').replace('threshold="0.15"', 'threshold="0.2"')
    cloud.studio.call("PATCH", f"/api/projects/{cloud.id}/", json={"label_config": config})
    until(60, lambda: cloud.live() != before, "a ranking by the new config")
    live = cloud.live().model_version
    assert cloud.info()["model_version"] == live
    boxes = [box for p in cloud.predictions() if p["model_version"] == live for box in p["result"]]
    labels = {box["value"]["rectanglelabels"][0] for box in boxes}
    assert "Round" in labels <= {"Round"} | old - {"round sign"}
    assert min(box["score"] for box in boxes) >= 0.2

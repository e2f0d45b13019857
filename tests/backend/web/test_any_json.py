"""Any JSON in the place of a request or of a task: the server answers, the job goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as trials
from hypothesis import strategies as st

from backend import plugin
from backend.label_studio.client import Task
from backend.label_studio.images import Pictures
from backend.project.published import Publication
from backend.project.serving import published_of
from backend.project.work import ProjectWork
from backend.queue.enqueue import Jobs
from backend.queue.progress import Progress
from backend.settings import Settings
from backend.web.app import create_app
from model.data.images import ImageError
from tests.backend.any_json import ANY, spoilt
from tests.backend.project.test_dataset import picture, region
from tests.backend.web.requests import CONFIG, EVENTS, PREDICTIONS, task

BODIES: dict[str, list[dict[str, Any]]] = {
    "/predict": [PREDICTIONS["dm_batch"] | {"tasks": [task(number) for number in (2, 3, 4)]}],
    "/setup": [{"project": "1.1795336536", "schema": CONFIG}],
    "/webhook": [body | {"project": body["project"] | {"id": 1}} for body in EVENTS.values()],
    "/job_status": [{"job": "1"}],
}
FIXTURES = [HealthCheck.function_scoped_fixture]


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    settings.predict_live = 0
    settings.start_training_each_n_updates = 1
    monkeypatch.setattr(plugin, "get_settings", lambda: settings)
    published = published_of(settings, 1)
    published.predictions("v1-r001").put([(2, "/data/upload/1/a.jpg", 0.25, [])])
    published.publish(Publication("v1-r001", "v1", "entropy", 0))
    return create_app(settings).test_client()


@trials(max_examples=40, deadline=None, suppress_health_check=FIXTURES)
@given(data=st.data())
@pytest.mark.parametrize("route", list(BODIES))
def test_requests(client: FlaskClient, route: str, data: st.DataObject) -> None:
    body = data.draw(st.sampled_from(BODIES[route]).flatmap(spoilt) | ANY)
    if route == "/predict" and isinstance(body, dict):
        body["label_config"] = CONFIG  # or Label Studio would be asked for it, which is away
    answer = client.post(route, json=body)
    assert answer.status_code < 500 or answer.status_code == 503, (body, answer.get_json())  # of another project
    assert isinstance(answer.get_json(), dict)


@trials(max_examples=40, deadline=None, suppress_health_check=FIXTURES)
@given(
    data=spoilt({"image": "x.jpg"}).filter(lambda data: data != {"image": "x.jpg"}),
    annotations=spoilt([{"result": [region()], "completed_by": 1, "updated_at": "2"}]),
)
def test_tasks(settings: Settings, tmp_path_factory: pytest.TempPathFactory, data: Any, annotations: Any) -> None:
    work = ProjectWork(1, settings, Jobs(settings), Progress(None, {"fetch": 1}))
    work.info = {"label_config": CONFIG}
    held = tuple(annotations) if isinstance(annotations, list) else ()
    right = {"result": [region()]}
    good = {"image": picture()}
    tasks = [
        Task(1, data if isinstance(data, dict) else {}, (right,)),
        Task(2, good, held),
        Task(3, good, (right,)),
    ]
    folder: Path = tmp_path_factory.mktemp("labeled")
    usable = [task for task in tasks if any(isinstance(one, dict) for one in task.annotations)]
    dataset, left_out = work.dataset(usable, folder)
    assert {image.id for image in dataset.images} | {task for tasks in left_out.tasks.values() for task in tasks} == {
        task.id for task in usable
    }
    assert 3 in {image.id for image in dataset.images}


@trials(max_examples=40, deadline=None, suppress_health_check=FIXTURES)
@given(data=spoilt({"image": "x.jpg"}).filter(lambda data: isinstance(data, dict)))
def test_references(settings: Settings, data: dict) -> None:
    try:
        reference = Pictures.reference(None, Task(1, data), "image")  # type: ignore[arg-type]
    except ImageError as error:
        reference = str(error)
    assert reference.encode()
    assert settings

"""Boxes that the label config does not ask for any more are not answered from disk, and are published anew."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from backend import plugin
from backend.label_studio.labels import LabelConfig
from backend.project.boxes.outdated import asked_for, outdated, threshold_of
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from backend.web.app import create_app
from model.detectors.open import open_detector
from tests.backend.project.test_dataset import picture
from tests.backend.web.requests import event, task

NOW = (
    '<View><Image name="image" value="$image"/><RectangleLabels name="label" toName="image">'
    '<Label value="Round" predicted_values="disc"/><Label value="Bus"/></RectangleLabels></View>'
)
BOX = {"type": "rectanglelabels", "value": {"x": 1}}
IMAGE = picture()
OTHERS = {
    "another threshold": NOW.replace('toName="image">', 'toName="image" model_score_threshold="0.4">'),
    "a renamed label": NOW.replace('"Round"', '"Circle"'),
    "other predicted values": NOW.replace('"disc"', '"disc, ring"'),
    "another control": NOW.replace('name="label"', 'name="box"'),
}


@pytest.fixture
def client(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    monkeypatch.setattr(plugin, "get_settings", lambda: settings)
    version = store_of(settings, 1).add_first(open_detector("starter"), {})
    config, published = LabelConfig.parse(NOW), published_of(settings, 1)
    published.predictions("v1-r001").put([(1, IMAGE, 0.125, [BOX])])
    shown_by = asked_for(config, version)
    published.publish(
        Publication("v1-r001", version.name, "entropy", 0, shown_by, threshold_of(config, settings, version))
    )
    return create_app(settings).test_client()


def ask(client: FlaskClient, config: str) -> list:
    body = {"tasks": [task(1, image=IMAGE)], "project": "1.1", "label_config": config}
    return client.post("/predict", json=body).get_json()["results"]


@pytest.mark.parametrize("config", OTHERS.values(), ids=list(OTHERS))
def test_another_config_is_answered_anew_and_ranked(client: FlaskClient, settings: Settings, config: str) -> None:
    (known,) = ask(client, NOW)
    assert (known["result"], known["score"]) == ([BOX], 0.125)
    assert Jobs(settings).active("rank", 1) is None
    settings.predict_live = 0
    assert ask(client, config) == [[]]
    assert Jobs(settings).active("rank", 1) is not None
    assert Jobs(settings).active("predict", 1) is None  # which would store what is outdated


def test_a_few_are_predicted_at_once_and_keep_their_place(client: FlaskClient) -> None:
    (answer,) = ask(client, OTHERS["a renamed label"])
    assert answer["score"] == 0.125
    assert BOX not in answer["result"]


def test_a_label_more_changes_no_box(client: FlaskClient, settings: Settings) -> None:
    more = NOW.replace("</RectangleLabels>", '<Label value="Tram"/></RectangleLabels>')
    assert ask(client, more)[0]["result"] == [BOX]
    assert Jobs(settings).active("rank", 1) is None


def test_the_event_of_the_change_is_enough(client: FlaskClient, settings: Settings) -> None:
    changed = event("PROJECT_UPDATED", 1, 0)
    for config, asked in ((NOW, False), ("<View/>", False), (None, False), (OTHERS["another threshold"], True)):
        changed["project"]["label_config"] = config
        assert client.post("/webhook", json=changed).status_code == (201 if asked else 200)
        assert (Jobs(settings).active("rank", 1) is not None) is asked


@pytest.mark.usefixtures("client")
def test_the_threshold_of_the_settings_counts_where_a_control_relies_on_it(settings: Settings) -> None:
    config = LabelConfig.parse(NOW)
    assert not outdated(settings, 1, config)
    other = settings.model_copy(update={"model_score_threshold": 0.5})
    assert outdated(other, 1, config)
    assert threshold_of(LabelConfig.parse(OTHERS["another threshold"]), other, store_of(settings, 1).list()[0]) is None

"""Which threshold counts: the label config's, then the admin's setting, then what the version has learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backend.label_studio.labels import LabelConfig, regions
from backend.project.boxes.outdated import asked_for, outdated, threshold_of
from backend.project.boxes.thresholds import thresholds_of
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from backend.settings import Settings
from bench.pages import Saved
from model.data.detections import Detections
from model.thresholds import Costs, Thresholds
from model.version import Version
from tests.backend.web.requests import CONFIG

NAMES = ("Car", "Bus")
MAP = {"Car": "Car", "Bus": "Bus"}
OWN = CONFIG.replace('toName="image">', 'toName="image" model_score_threshold="0.5">')


@pytest.fixture
def version(settings: Settings) -> Version:
    detector: Any = Saved(NAMES)  # what it finds is given below
    store = store_of(settings, 1)
    store.add_first(detector, {})
    learned = {"Car": 0.6, "Bus": 0.1}
    made = store.add(detector, metrics=None, label_map=MAP, fingerprint="", parent="v1", images=9, thresholds=learned)
    return store.get(made.name)


def boxes() -> Detections:
    """A surer Bus lies on a Car; another Car and another Bus stand alone."""
    corners = np.array([[0, 0, 50, 50], [0, 0, 50, 45], [60, 60, 90, 90], [0, 60, 30, 90]], np.float32)
    scores = np.array([0.7, 0.8, 0.55, 0.2], np.float32)
    return Detections(corners, scores, np.array([0, 1, 0, 1]), np.zeros((4, 2), np.float32), (100, 100))


def shown(config: str, thresholds: Thresholds) -> list[tuple[str, float]]:
    made = regions(boxes(), NAMES, LabelConfig.parse(config), MAP, thresholds)
    return [(one["value"]["rectanglelabels"][0], round(one["score"], 2)) for one in made]


def test_each_class_has_its_own_and_a_place_one_box(settings: Settings, version: Version) -> None:
    learned = thresholds_of(settings, version)
    assert (learned.of("Car"), learned.of("Bus"), learned.alone) == (0.6, 0.1, True)
    assert shown(CONFIG, learned) == [("Bus", 0.8), ("Bus", 0.2)]


def test_what_the_admin_chose_counts_before_what_was_learned(settings: Settings, version: Version) -> None:
    settings.model_score_threshold = 0.25  # as the default is
    chosen = thresholds_of(settings, version)
    assert (chosen.of("Car"), chosen.of("Bus")) == (0.25, 0.25)
    assert shown(CONFIG, chosen) == [("Bus", 0.8), ("Car", 0.55)]


def test_the_label_config_counts_before_everything(settings: Settings, version: Version) -> None:
    assert shown(OWN, thresholds_of(settings, version)) == [("Bus", 0.8), ("Car", 0.55)]


def test_a_version_of_an_earlier_release_shows_what_it_always_did(settings: Settings, version: Version) -> None:
    first = store_of(settings, 1).list()[0]
    assert str(thresholds_of(settings, first)) == "0.25"
    assert shown(CONFIG, thresholds_of(settings, first)) == [("Car", 0.7), ("Bus", 0.8), ("Car", 0.55)]
    config = LabelConfig.parse(CONFIG)
    assert config.shown_by(Thresholds(0.25), MAP) == f"0.25 {config.labels} {sorted(MAP.items())}"  # names its files
    assert config.shown_by(thresholds_of(settings, version), MAP) != config.shown_by(Thresholds(0.25), MAP)


def test_a_threshold_that_is_set_later_asks_for_other_boxes(settings: Settings, version: Version) -> None:
    config = LabelConfig.parse(CONFIG)
    about = asked_for(config, version), threshold_of(config, settings, version)
    assert about[1] is None
    published_of(settings, 1).publish(Publication("v2-r001", version.name, "entropy", 0, *about))
    assert not outdated(settings, 1, config)
    settings.model_score_threshold = 0.25
    assert outdated(settings, 1, config)


def test_costs_are_settings(settings: Settings) -> None:
    assert Costs(settings.seconds_to_delete, settings.seconds_to_draw) == Costs()

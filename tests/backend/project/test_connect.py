"""What is said of a config whose project has models already."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.label_studio.labels import LabelConfig
from backend.project.connect import unshown_labels, unused_weights
from model.detectors.open import open_detector
from model.versions import VersionStore
from tests.backend.web.requests import CONFIG


@pytest.fixture
def store(tmp_path: Path) -> VersionStore:
    store = VersionStore(tmp_path)
    store.add_first(open_detector("starter"), {}, "starts from starter.pt; and more")
    return store


def test_weights_that_are_named_too_late_are_said(store: VersionStore) -> None:
    named = CONFIG.replace('toName="image">', 'toName="image" model_path="mine.pt">')
    (line,) = unused_weights(store, LabelConfig.parse(named))
    assert "model_path 'mine.pt' is not used: the project started from starter.pt" in line
    assert unused_weights(store, LabelConfig.parse(named.replace("mine.pt", "below/starter.pt"))) == []
    assert unused_weights(store, LabelConfig.parse(CONFIG)) == []


def test_labels_that_were_renamed_after_a_training_are_said_with_what_maps_them(store: VersionStore) -> None:
    config = LabelConfig.parse(CONFIG)
    assert unshown_labels(store, config) == []  # untrained: its classes are nobody's labels
    detector = open_detector("starter")
    version = store.add(detector, metrics=None, label_map={}, fingerprint="", parent="v1", images=4, note="")
    store.promote(version.name)
    (line,) = unshown_labels(store, config)
    first = detector.names[0]
    assert f"put predicted_values={first!r} on the <Label> that replaces it" in line
    labels = "".join(f'<Label value="new {name}" predicted_values="{name}"/>' for name in detector.names)
    assert unshown_labels(store, LabelConfig.parse(CONFIG.replace('<Label value="Bus"/>', labels))) == []

"""What `mgral doctor` says of the starting weights: never the starter's figures under another name."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from backend.commands import doctor
from backend.commands.findings import Finding, find
from backend.settings import Settings
from model.detectors import yolo
from model.detectors.open import STARTER


def weights(settings: Settings) -> Finding:
    return find("weights", partial(doctor._weights, settings))  # `examine` asks Label Studio first, which is away


def test_weights_that_cannot_be_downloaded_are_not_well(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yolo, "download", lambda _: None)
    settings.weights = "yolo11n.pt"
    found = weights(settings)
    assert not found.well
    assert found.said.startswith(
        "yolo11n.pt could not be downloaded: a project that begins now starts from the starter"
    )
    assert "classes" not in found.said


def test_what_was_opened_is_named(settings: Settings, tmp_path: Path) -> None:
    found = weights(settings)
    assert found.well
    assert found.said == f"starter opens ({STARTER}), 20 classes"
    file = tmp_path / "mine.pt"
    file.write_bytes(STARTER.read_bytes())
    settings.weights = str(file)
    assert weights(settings).said == f"{file} opens, 20 classes"
    file.write_bytes(b"cut")
    assert not weights(settings).well

"""Model versions below a URL, that two machines see."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from model import artefacts
from model.artefacts import Artefacts, ArtefactsError
from model.detectors.open import open_detector
from model.detectors.yolo import YoloDetector
from model.versions import Version, VersionError, VersionStore
from tests.model.made import add, contents, full_disk
from tests.s3 import place


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each machine sees at once what the other one wrote."""
    monkeypatch.setattr(artefacts, "KEPT_SECONDS", 0.0)


@pytest.fixture(params=["file", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> list[Artefacts]:
    """Of two machines."""
    url = place(request.param, tmp_path)
    return [Artefacts(url, tmp_path / "here"), Artefacts(url, tmp_path / "other")]


@pytest.fixture
def stores(files: list[Artefacts]) -> list[VersionStore]:
    return [VersionStore(one.local / "7" / "versions", one) for one in files]


def names(store: VersionStore) -> list[str]:
    return [version.name for version in store.list()]


def about(version: Version | None) -> dict[str, Any]:
    """All but where it lies."""
    assert version is not None
    return asdict(version) | {"path": None}


def test_what_one_machine_adds_another_finds(stores: list[VersionStore], detector: YoloDetector) -> None:
    here, other = stores
    assert other.list() == []
    added = add(here, detector, note="from elsewhere")
    assert [about(version) for version in other.list()] == [about(added)]
    assert (other.root / added.name / "version.json").exists()
    assert not (other.root / added.name / "weights.pt").exists()  # nobody asked for them yet
    assert other.serving() is None
    here.promote(added.name)
    serving = other.serving()
    assert about(serving) == about(added)
    assert serving is not None
    assert open_detector(serving.weights).names == detector.names
    second = add(other, detector)
    assert second.number == 2
    assert other.promote(second.name) == second
    assert about(here.serving()) == about(second)
    assert here.roll_back() == added
    assert about(other.serving()) == about(added)
    with pytest.raises(VersionError, match=f"there are: {added.name}, {second.name}"):
        other.get("v9")


def test_what_one_machine_prunes_is_gone_everywhere(
    stores: list[VersionStore], detector: YoloDetector, caplog: pytest.LogCaptureFixture
) -> None:
    here, other = stores
    old, new = add(here, detector), add(here, detector)
    assert other.get(old.name).weights.exists()
    assert here.prune(1) == [old.name]
    with caplog.at_level(logging.WARNING):
        assert names(other) == [new.name]
    assert caplog.text == ""
    assert not (other.root / old.name).exists()
    assert add(other, detector).number == 3


def test_artefacts_beside_the_weights(stores: list[VersionStore], detector: YoloDetector) -> None:
    here, other = stores
    name = add(here, detector).name
    for data in (b"[1, 2]", b"[2, 1]"):
        assert here.write(name, "ranking.json", data).read_bytes() == data
        assert other.read(name, "ranking.json") == data
    here.write(name, "trained_on.json", b"[3]")
    assert other.read(name, "trained_on.json") == b"[3]"
    with pytest.raises(VersionError, match=f"version '{name}' has no artefact 'other.json'"):
        other.read(name, "other.json")


def test_half_a_version_is_none_and_is_swept(
    files: list[Artefacts], stores: list[VersionStore], detector: YoloDetector, caplog: pytest.LogCaptureFixture
) -> None:
    """A writer was killed after it had sent the weights."""
    here, other = stores
    first = add(here, detector)
    (here.root / ".tmp-dead").mkdir()
    (here.root / ".tmp-dead" / "weights.pt").write_bytes(b"w")
    files[0].push("7/versions/dead/weights.pt", source=here.root / ".tmp-dead" / "weights.pt")
    with caplog.at_level(logging.WARNING):
        assert names(here) == names(other) == [first.name]
    assert caplog.text == ""
    second = add(other, detector)
    assert second.number == 2
    assert files[1].names("7/versions") == [first.name, second.name]
    assert names(here) == [first.name, second.name]


def test_a_version_that_cannot_be_sent_is_not_added(tmp_path: Path, detector: YoloDetector) -> None:
    elsewhere = Artefacts("s4://bucket/models", tmp_path / "cache")
    store = VersionStore(elsewhere.local / "7" / "versions", elsewhere)
    with pytest.raises(ArtefactsError, match="s4"):
        add(store, detector)
    assert contents(store.root).keys() <= {".lock"}


def test_weights_that_do_not_fit_here_are_not_half_here(stores: list[VersionStore], detector: YoloDetector) -> None:
    here, other = stores
    version = other.get(add(here, detector).name)
    with full_disk(10_000), pytest.raises(OSError, match="File too large"):
        _ = version.weights
    assert open_detector(version.weights).names == detector.names

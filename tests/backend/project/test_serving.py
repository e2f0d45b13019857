"""Which version serves where files are damaged: the starter weights never take the place of what was trained."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from backend.label_studio.labels import LabelConfig
from backend.project import serving
from backend.project.published import Publication
from backend.project.serving import first_version, published_of, serving_of, store_of, untrained_of
from backend.settings import Settings
from model.damage import DamagedError
from model.detectors.base import WeightsError
from model.detectors.open import open_detector
from model.versions import Version, VersionStore
from tests.backend.web.requests import CONFIG
from tests.model.made import add
from tests.model.test_versions_damage import HARMS, harm


@pytest.fixture
def store(settings: Settings) -> VersionStore:
    """A project that was trained once, and shows it."""
    store, detector = store_of(settings, 1), open_detector("starter")
    store.add_first(detector, {})
    trained = add(store, detector, parent="v1", images=9)
    store.promote(trained.name)
    add(store, detector, parent=trained.name, images=12, note="kept, not promoted, because it is worse")
    about = {"model_version": f"{trained.name}-r001", "strategy": "entropy", "order": []}
    store.write(trained.name, "ranking.json", json.dumps(about).encode())
    published_of(settings, 1).publish(Publication(f"{trained.name}-r001", trained.name, "entropy", 9))
    return store


def first(settings: Settings) -> Version:
    return first_version(store_of(settings, 1), settings, LabelConfig.parse(CONFIG), published_of(settings, 1))


@pytest.mark.parametrize("how", HARMS)
@pytest.mark.parametrize("others", [(), ("published.json",), ("published.json", "ranking.json")])
def test_a_lost_pointer_lets_the_trained_version_serve_again(
    settings: Settings, store: VersionStore, how: str, others: tuple[str, ...]
) -> None:
    trained = store.list()[1]
    harm(store.root / "serving.json", how)
    for name in others:
        (trained.path / name if name == "ranking.json" else store.root.parent / name).unlink()
    if how == "one byte" and store.serving() is not None:
        pytest.skip("a byte of a name: it is another file's damage")
    assert first(settings) == trained
    assert len(store.list()) == 3


def test_damaged_weights_let_the_version_before_serve_and_never_a_new_start(
    settings: Settings, store: VersionStore
) -> None:
    start, trained, _ = store.list()
    harm(trained.weights, "cut")
    assert first(settings) == start
    harm(start.weights, "cut")
    with pytest.raises(DamagedError, match=r"weights\.pt is damaged .* from a backup, or delete it and let another"):
        first(settings)
    assert len(store.list()) == 3
    assert untrained_of(store, settings, LabelConfig.parse(CONFIG)).names == open_detector("starter").names


def test_a_project_that_was_never_trained_starts_once_more(settings: Settings) -> None:
    before = first(settings)
    harm(before.weights, "emptied")
    after = first(settings)
    assert after.number == 2
    assert serving_of(store_of(settings, 1), published_of(settings, 1)) == after


def test_the_note_names_what_was_opened(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "file_of", lambda _: None)  # nothing can be downloaded
    settings.weights = "yolo11n.pt"
    assert first(settings).note.startswith("starts from starter.pt, because yolo11n.pt could not be downloaded")
    settings.weights, settings.model_dir = "starter", f"{settings.model_dir}-two"


def test_weights_in_a_directory_are_found(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "mine.pt"
    open_detector("starter").save(file)
    settings.weights = str(file)
    assert first(settings).note.startswith("starts from mine.pt")


@pytest.mark.parametrize(
    "path",
    ["a" * 5000, "a/" * 5000, "loop/a.pt", "fifo.pt", "../outside.pt", "out.pt", "a\0.pt", "\ud800.pt", "/dev/zero"],
)
def test_what_a_config_names_is_a_file_below_model_root_or_told_in_one_line(
    settings: Settings, tmp_path: Path, path: str
) -> None:
    settings.model_root = tmp_path / "root"
    settings.model_root.mkdir()
    (settings.model_root / "loop").symlink_to("loop")
    (settings.model_root / "out.pt").symlink_to(tmp_path / "outside.pt")
    (tmp_path / "outside.pt").write_bytes(b"not ours")
    os.mkfifo(settings.model_root / "fifo.pt")
    config = replace(LabelConfig.parse(CONFIG), model_path=path)
    with pytest.raises(WeightsError, match="no such file below MODEL_ROOT") as refused:
        first_version(store_of(settings, 7), settings, config, published_of(settings, 7))
    assert len(str(refused.value)) < 400

"""Model versions on disk when files are damaged, and when the disk is full."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from model.artefacts import Artefacts
from model.detectors.yolo import YoloDetector
from model.versions import VersionError, VersionStore
from tests.model.made import add, contents, full_disk


@pytest.mark.parametrize("damage", ["cut", "no object", "key missing", "no file", "no weights", "not utf-8"])
def test_a_damaged_version_is_left_out_with_a_warning(
    damage: str, store: VersionStore, detector: YoloDetector, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = add(store, detector), add(store, detector)
    meta = bad.path / "version.json"
    stored = json.loads(meta.read_text())
    if damage == "cut":
        meta.write_text(meta.read_text()[:40])
    elif damage == "no object":
        meta.write_text("[]")
    elif damage == "key missing":
        meta.write_text(json.dumps({key: value for key, value in stored.items() if key != "images"}))
    elif damage == "no file":
        meta.unlink()
    elif damage == "no weights":
        bad.weights.unlink()
    else:
        meta.write_bytes(b"\xff\xfe")
    with caplog.at_level(logging.WARNING):
        assert store.list() == [good]
    assert f"version {bad.name} is damaged" in caplog.text
    with pytest.raises(VersionError, match=good.name):
        store.promote(bad.name)
    assert add(store, detector).number == 3


def test_what_a_later_release_adds_to_the_file_does_no_harm(store: VersionStore, detector: YoloDetector) -> None:
    added = add(store, detector)
    meta = added.path / "version.json"
    meta.write_text(json.dumps(json.loads(meta.read_text()) | {"gpu": "H200"}))
    assert store.get(added.name) == added


def test_when_the_serving_version_is_damaged_the_one_before_serves(
    store: VersionStore, detector: YoloDetector, caplog: pytest.LogCaptureFixture
) -> None:
    a, b, c = (add(store, detector) for _ in range(3))
    for version in (a, b, c):
        store.promote(version.name)
    c.weights.unlink()
    with caplog.at_level(logging.WARNING):
        assert store.serving() == b
    assert f"version {c.name} cannot be read: {b.name} serves instead" in caplog.text
    assert store.roll_back() == b
    assert store.roll_back() == a


def test_a_damaged_serving_file_is_reported_and_mended_by_promoting(
    store: VersionStore, detector: YoloDetector, caplog: pytest.LogCaptureFixture
) -> None:
    a = add(store, detector)
    (store.root / "serving.json").write_text('{"current": ')
    with caplog.at_level(logging.WARNING):
        assert store.serving() is None
    assert "serving.json is damaged" in caplog.text
    store.promote(a.name)
    assert store.serving() == a


HARMS = ["cut", "emptied", "other bytes", "one byte", "missing", "a directory"]


def harm(file: Path, how: str) -> None:
    """Damage a file."""
    content = bytearray(file.read_bytes())
    file.unlink()
    if how == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif how == "emptied":
        file.touch()
    elif how == "other bytes":
        file.write_bytes(bytes(reversed(content)))
    elif how == "one byte":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif how == "a directory":
        (file / "x").mkdir(parents=True)


@pytest.mark.parametrize("digest", [True, False], ids=["a digest", "none, as in earlier releases"])
@pytest.mark.parametrize("how", HARMS)
def test_weights_that_are_not_what_was_saved_are_found(
    how: str, digest: bool, store: VersionStore, detector: YoloDetector
) -> None:
    before, after = add(store, detector), add(store, detector)
    for version in (before, after):
        store.promote(version.name)
    if not digest:
        meta = after.path / "version.json"
        meta.write_text(json.dumps({k: v for k, v in json.loads(meta.read_text()).items() if k != "digest"}))
    assert store.serving().name == after.name  # type: ignore[union-attr]
    assert list(store.damages()) == []
    harm(after.weights, how)
    assert store.serving() == before
    (line,) = store.damages()
    assert line.startswith(f"{after.weights} is damaged (")
    assert "from a backup" in line
    assert store.named() == after.name  # it serves again as soon as its file is back


def test_a_copy_that_is_damaged_is_fetched_again(tmp_path: Path, detector: YoloDetector) -> None:
    there, here = (Artefacts(f"file://{tmp_path}/there", tmp_path / name) for name in ("one", "two"))
    made = VersionStore(there.local / "7", there).add_first(detector, {})
    store = VersionStore(here.local / "7", here)
    good = store.get(made.name).weights.read_bytes()
    for how in HARMS:
        file = store.get(made.name).weights
        file.chmod(0o600)
        harm(file, how)
        assert store.get(made.name).weights.read_bytes() == good
        assert list(store.damages()) == []


@pytest.mark.parametrize("how", [*HARMS, "wrong shape"])
def test_a_lost_promotion_comes_back_from_what_served(
    how: str, store: VersionStore, detector: YoloDetector, caplog: pytest.LogCaptureFixture
) -> None:
    start = store.add_first(detector, {})
    trained, never = add(store, detector), add(store, detector)
    store.promote(trained.name)
    file = store.root / "serving.json"
    if how == "wrong shape":
        file.write_text('{"current": 3, "history": "x"}')
    elif how == "one byte":
        file.write_text(file.read_text().replace('"history"', '"histury"'))
    else:
        harm(file, how)
    assert store.lost()
    assert store.serving() is None
    (line,) = store.damages()
    assert str(file) in line
    assert "mgral versions" in line
    if how != "missing":
        assert store.prune(1) == []  # nobody knows which of them serves
    assert store.restore([never.name[:-1], start.name, trained.name]) == trained
    assert not store.lost()
    assert list(store.damages()) == []
    assert store.roll_back() == start
    assert "which annotators were shown last" in caplog.text


def test_when_the_disk_is_full_the_store_stays_as_it_was(store: VersionStore, detector: YoloDetector) -> None:
    a, b = add(store, detector), add(store, detector)
    store.promote(a.name)
    store.write(a.name, "ranking.json", b"[1]")
    before = contents(store.root)
    with full_disk(100_000), pytest.raises((OSError, RuntimeError)):
        add(store, detector)  # the weights do not fit
    with full_disk(10):
        with pytest.raises(OSError, match="File too large"):
            store.write(a.name, "ranking.json", b"[1, 2, 3, 4, 5, 6]")
        with pytest.raises(OSError, match="File too large"):
            store.promote(b.name)
    assert contents(store.root) == before
    assert store.serving() == a
    assert add(store, detector).number == 3


@pytest.mark.parametrize("name", ["version.json", "weights.pt"])
def test_a_pipe_in_the_place_of_a_file_is_damage_and_waited_for_by_nobody(
    name: str, store: VersionStore, detector: YoloDetector
) -> None:
    before, after = add(store, detector), add(store, detector)
    for version in (before, after):
        store.promote(version.name)
    (after.path / name).unlink()
    os.mkfifo(after.path / name)
    assert store.serving() == before
    (line,) = store.damages()
    assert name in line
    (store.root / "serving.json").unlink()
    os.mkfifo(store.root / "serving.json")
    assert store.serving() is None
    assert store.lost()

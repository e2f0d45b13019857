"""Model versions on disk when files are damaged, and when the disk is full."""

from __future__ import annotations

import json
import logging
import resource
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from model.detectors.yolo import YoloDetector
from model.versions import VersionError, VersionStore
from tests.model.made import add, contents


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


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes: the system refuses the write, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


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

"""Model versions on disk: names, order, promotion, pruning and artefacts."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from model.detectors.open import open_detector
from model.detectors.yolo import YoloDetector
from model.versions import VersionError, VersionStore
from tests.model.made import SIDE, add, contents


def test_an_empty_store_reads_as_empty_and_writes_nothing(store: VersionStore) -> None:
    assert store.list() == []
    assert store.serving() is None
    with pytest.raises(VersionError, match=r"^no version 'v1' in .*; there are: none yet$"):
        store.get("v1")
    assert not store.root.exists()


def test_a_version_keeps_everything(store: VersionStore, detector: YoloDetector) -> None:
    metrics = {
        "map": 0.5,
        "map50": 0.75,
        "map75": 0.5,
        "per_class": {"red": 0.5, "blue": -1.0},
        "images": 4,
        "boxes": 9,
    }
    label_map = {"red": "Rouge", "blue": "Bleu ❤"}
    added = add(store, detector, metrics=metrics, label_map=label_map, parent="v0", images=12, note="map fell")
    read = VersionStore(store.root).get(added.name)
    assert read == added
    assert (read.metrics, read.label_map, read.names) == (metrics, label_map, ("red", "blue"))
    assert (read.fingerprint, read.parent, read.images, read.note) == ("f0", "v0", 12, "map fell")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(read.created)) < timedelta(minutes=1)
    opened = open_detector(read.weights)
    assert opened.names == detector.names
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    np.testing.assert_allclose(opened.encode([picture]), detector.encode([picture]), atol=0.01)


def test_names_sort_in_the_order_of_creation(store: VersionStore, detector: YoloDetector) -> None:
    names = [add(store, detector).name for _ in range(3)]
    assert names == sorted(names) == [v.name for v in store.list()]
    assert all(re.fullmatch(r"v\d{4}-\d{8}-\d{6}", name) for name in names)
    assert [v.number for v in store.list()] == [1, 2, 3]


def test_a_given_name_is_kept_and_counted(store: VersionStore, detector: YoloDetector) -> None:
    add(store, detector, name="zebra.1")
    second = add(store, detector)
    add(store, detector, name="aardvark")
    assert [v.name for v in store.list()] == ["zebra.1", second.name, "aardvark"]
    assert second.name.startswith("v0002-")
    with pytest.raises(VersionError, match=r"'zebra\.1' exists already"):
        add(store, detector, name="zebra.1")


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "a b", "v\n", "ü", "serving.json", "x" * 101])
def test_a_name_unfit_for_a_directory_is_refused(name: str, store: VersionStore, detector: YoloDetector) -> None:
    with pytest.raises(ValueError, match="version name"):
        add(store, detector, name=name)
    with pytest.raises(VersionError, match="no version"):
        store.get(name)
    assert not store.root.exists()


def test_an_unknown_version_is_answered_with_the_known_ones(store: VersionStore, detector: YoloDetector) -> None:
    name = add(store, detector).name
    for ask in (store.get, store.promote, lambda n: store.write(n, "a", b""), lambda n: store.read(n, "a")):
        with pytest.raises(VersionError, match=f"^no version 'v9' in .*; there are: {name}$"):
            ask("v9")
    with pytest.raises(KeyError):
        store.get("v9")


# -- serving ----------------------------------------------------------------------------------------------------------


def test_adding_does_not_promote(store: VersionStore, detector: YoloDetector) -> None:
    first = add(store, detector)
    assert store.serving() is None
    assert store.promote(first.name) == first
    add(store, detector)
    assert store.serving() == first


def test_what_a_project_starts_from_serves_at_once(store: VersionStore, detector: YoloDetector) -> None:
    first = store.add_first(detector, {"red": "Rouge"}, note="the starter")
    assert store.serving() == first == store.get(first.name)
    assert (first.names, first.label_map, first.note) == (detector.names, {"red": "Rouge"}, "the starter")
    assert (first.metrics, first.fingerprint, first.parent, first.images) == (None, "", None, 0)
    with pytest.raises(VersionError, match="no version served before"):
        store.roll_back()


def test_rolling_back_twice_goes_two_back(store: VersionStore, detector: YoloDetector) -> None:
    a, b, c = (add(store, detector) for _ in range(3))
    for version in (a, b, c):
        store.promote(version.name)
    assert (store.roll_back(), store.serving()) == (b, b)
    assert (store.roll_back(), store.serving()) == (a, a)
    with pytest.raises(VersionError, match=f"no version served before '{a.name}'"):
        store.roll_back()
    assert store.serving() == a


def test_rolling_back_an_empty_store(store: VersionStore) -> None:
    with pytest.raises(VersionError, match="no version served before"):
        store.roll_back()


def test_promoting_the_serving_version_again_is_no_step(store: VersionStore, detector: YoloDetector) -> None:
    a, b = add(store, detector), add(store, detector)
    for version in (a, b, b):
        store.promote(version.name)
    assert store.roll_back() == a


def test_after_a_roll_back_the_bad_version_is_not_returned_to(store: VersionStore, detector: YoloDetector) -> None:
    a, bad, c = (add(store, detector) for _ in range(3))
    store.promote(a.name)
    store.promote(bad.name)
    store.roll_back()
    store.promote(c.name)
    assert store.roll_back() == a


def test_a_version_may_serve_twice(store: VersionStore, detector: YoloDetector) -> None:
    a, b = add(store, detector), add(store, detector)
    for version in (a, b, a):
        store.promote(version.name)
    assert [store.roll_back(), store.roll_back()] == [b, a]


# -- pruning ----------------------------------------------------------------------------------------------------------


def test_prune_drops_the_oldest(store: VersionStore, detector: YoloDetector) -> None:
    versions = [add(store, detector) for _ in range(5)]
    assert store.prune(2) == [v.name for v in versions[:3]]
    assert store.list() == versions[3:]
    assert store.prune(2) == []
    assert sorted(p.name for p in store.root.iterdir() if p.is_dir()) == [v.name for v in versions[3:]]


def test_prune_protects_the_serving_one_and_the_one_before(store: VersionStore, detector: YoloDetector) -> None:
    a, b, c, d, e = (add(store, detector) for _ in range(5))
    for version in (a, b, c):
        store.promote(version.name)
    assert store.prune(1) == [a.name, d.name]
    assert store.list() == [b, c, e]
    assert store.serving() == c
    assert store.roll_back() == b
    with pytest.raises(VersionError):  # a is gone
        store.roll_back()


def test_prune_with_a_history_that_comes_back_to_one_version(store: VersionStore, detector: YoloDetector) -> None:
    a, b, c, d = (add(store, detector) for _ in range(4))
    for version in (c, a, b, a, d):
        store.promote(version.name)
    assert store.prune(1) == [b.name, c.name]
    assert store.roll_back() == a
    with pytest.raises(VersionError):  # what is left of the history is a itself
        store.roll_back()


def test_what_the_project_started_from_is_never_pruned(store: VersionStore, detector: YoloDetector) -> None:
    assert store.untrained() is None
    add(store, detector, parent="v0", images=0)
    add(store, detector)
    assert store.untrained() is None
    start = store.add_first(detector, {})
    trained = [add(store, detector, parent=start.name) for _ in range(3)]
    for version in trained:
        store.promote(version.name)
    store.prune(1)
    assert store.list() == [start, *trained[-2:]]
    assert store.untrained() == start


def test_prune_keeps_at_least_one(store: VersionStore) -> None:
    with pytest.raises(ValueError, match="keep 0: at least 1"):
        store.prune(0)


def test_numbers_go_on_after_pruning(store: VersionStore, detector: YoloDetector) -> None:
    for _ in range(3):
        add(store, detector)
    store.prune(1)
    assert add(store, detector).number == 4


# -- artefacts --------------------------------------------------------------------------------------------------------


def test_artefacts(store: VersionStore, detector: YoloDetector) -> None:
    name = add(store, detector).name
    path = store.write(name, "ranking.json", b"[1, 2]")
    assert path == store.get(name).path / "ranking.json"
    assert store.read(name, "ranking.json") == b"[1, 2]"
    store.write(name, "ranking.json", b"")
    assert store.read(name, "ranking.json") == b""
    with pytest.raises(VersionError, match=f"version '{name}' has no artefact 'other.json'"):
        store.read(name, "other.json")


@pytest.mark.parametrize(
    "artefact", ["", ".", "..", "../x", "a/b", "/etc/passwd", ".tmp-x", "weights.pt", "version.json"]
)
def test_artefact_names_are_checked(artefact: str, store: VersionStore, detector: YoloDetector) -> None:
    name = add(store, detector).name
    before = contents(store.root)
    with pytest.raises(ValueError, match="artefact"):
        store.write(name, artefact, b"x")
    with pytest.raises(ValueError, match="artefact"):
        store.read(name, artefact)
    assert contents(store.root) == before

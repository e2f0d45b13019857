from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.pool import store as pool_store
from agent.pool.pool import Pool
from agent.pool.store import ENTRY, Encoder, FileRows, PoolStore, encoder_fingerprint
from model.data.detections import Detections
from model.detectors.base import Detector, Picture
from tests.agent.pools import detections_of

NAMES = ("c0", "c1", "c2")
AP = np.array([0.2, -1.0, 0.9])
WIDTH = 40


class Counting(Detector):
    """Sees in a picture what was planted by its number, and remembers which it looked at."""

    names = NAMES
    image_size = 64

    def __init__(self, dies_at: int | None = None, value: float = 1.0) -> None:
        self.looked: list[int] = []
        self.dies_at = dies_at
        self.value = value

    def scan(self, pictures: Iterable[Picture], **_options: object) -> Iterator[tuple[Detections, np.ndarray]]:
        for picture in pictures:
            seed = int(np.asarray(picture).flat[0])
            if len(self.looked) == self.dies_at:
                raise KeyboardInterrupt
            self.looked.append(seed)
            yield planted(seed), encoding(seed) * np.float32(self.value)

    def fit(self, *_: Any, **_options: Any) -> Detector:
        raise NotImplementedError

    def save(self, path: str | Path) -> None:
        raise NotImplementedError


def planted(seed: int) -> Detections:
    rng = np.random.default_rng(seed)
    return detections_of(rng.random((rng.integers(0, 4), len(NAMES))), len(NAMES))


def encoding(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=WIDTH).astype(np.float16).astype(np.float32)


class Planted:
    """Images by their numbers, each a picture of one pixel; `lost` ones cannot be read."""

    def __init__(self, *listed: tuple[int, str], lost: int | None = None) -> None:
        self.listed, self.lost = listed, lost

    def keys(self) -> Sequence[tuple[int, str]]:
        return self.listed

    def pictures(self, ids: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        for image in ids:
            if image != self.lost:
                yield image, np.full((1, 1, 3), image % 256, np.uint8)

    def contents(self, ids: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        raise AssertionError(f"a scan wants pictures, not the files of {ids}")


class Sink:
    """Remembers what it was handed, and what it had written when a block was committed."""

    def __init__(self) -> None:
        self.handed: list[int] = []
        self.written: list[int] = []

    def keep(self, image: int, detections: Detections) -> None:
        assert len(detections) == len(planted(image % 256))
        self.handed.append(image)

    def flush(self) -> None:
        self.written = list(self.handed)


def images(*ids: int, lost: int | None = None) -> Planted:
    return Planted(*((image, f"data/{image}.jpg") for image in ids), lost=lost)


def encoder(detector: Detector | None = None, fingerprint: str = "one") -> Encoder:
    return Encoder(detector or Counting(), fingerprint)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_store, "BLOCK", 4)


def scanned(directory: Path, *ids: int, detector: Detector | None = None) -> PoolStore:
    store = PoolStore(directory)
    store.scan(encoder(detector), images(*ids))
    return store


def test_the_pool_is_that_of_one_pass_in_memory(tmp_path: Path) -> None:
    ids, labeled = [9, 3, 40, 12, 7, 5, 21], [30, 2, 8]
    store = scanned(tmp_path / "store", *ids, *labeled)
    got = store.pool(ids, labeled, AP, NAMES)
    wanted = Pool.from_detections(
        ids, map(planted, ids), np.stack(list(map(encoding, ids))), NAMES, np.stack(list(map(encoding, labeled))), AP
    )
    assert isinstance(got.encodings, FileRows)
    assert got.encodings[:].dtype == np.float16
    np.testing.assert_array_equal(got.encodings[:], wanted.encodings[:])
    for name in ("ids", "descriptors", "expected", "labeled_encodings", "standardised"):
        np.testing.assert_allclose(getattr(got, name), getattr(wanted, name), rtol=1e-6, err_msg=name)
    assert got.labeled_ids is not None
    assert got.labeled_ids.tolist() == labeled
    other = np.array([1.0, 0.5, 0.0])  # weighed anew, without another pass
    wanted = Pool.from_detections(
        ids, map(planted, ids), wanted.encodings[:], NAMES, wanted.labeled_encodings[:], other
    )
    np.testing.assert_allclose(store.pool(ids, labeled, other, NAMES).descriptors, wanted.descriptors, rtol=1e-6)


def test_only_what_is_new_is_read(tmp_path: Path) -> None:
    scanned(tmp_path, *range(6))
    detector, store = Counting(), PoolStore(tmp_path)
    assert len(store) == 6
    sink = Sink()
    reported: list[tuple[int, int]] = []
    changed = Planted((4, "data/other.jpg"), *images(2, 7, 8).keys())
    described = store.scan(
        encoder(detector), changed, sink, batch=2, report=lambda done, total, **_: reported.append((done, total))
    )
    assert described == [4, 2, 7, 8]
    assert detector.looked == sink.written == [4, 7, 8]
    assert reported == [(2, 3), (3, 3)]
    assert len(store) == 8
    assert store.scan(encoder(detector), changed) == described
    assert detector.looked == [4, 7, 8]
    assert store.describes(images(4, 2).keys()).tolist() == [False, True]


def test_a_picture_that_cannot_be_had_and_an_image_that_vanished_are_left_out(tmp_path: Path) -> None:
    store = PoolStore(tmp_path)
    described = store.scan(encoder(), images(1, 2, 3, lost=2))
    assert described == [1, 3]
    assert store.pool([2, 3], [], AP, NAMES).ids.tolist() == [3]


def test_another_encoder_starts_anew(tmp_path: Path) -> None:
    store = scanned(tmp_path, 1, 2, 3, 4, 5)
    before = store.pool([1, 2], [], AP, NAMES)
    other = Counting(value=2.0)
    assert store.scan(encoder(other, "two"), images(2, 3)) == [2, 3]
    assert other.looked == [2, 3]
    assert len(PoolStore(tmp_path)) == 2
    np.testing.assert_array_equal(store.pool([2], [], AP, NAMES).encodings[:][0], 2 * encoding(2))
    np.testing.assert_array_equal(before.encodings[:][1], encoding(2))  # a pool outlives its store
    with pytest.raises(ValueError, match="but the store holds"):
        store.pool([2], [], AP, ("x", "y", "z"))


def test_a_killed_pass_loses_its_unfinished_block(tmp_path: Path) -> None:
    sink, store = Sink(), PoolStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.scan(encoder(Counting(dies_at=10)), images(*range(20)), sink)
    assert sink.written == list(range(8))  # two blocks of four, in the caller's hands before they count
    detector = Counting()
    assert store.scan(encoder(detector), images(*range(20))) == list(range(20))
    assert detector.looked == list(range(8, 20))


@pytest.mark.parametrize(
    ("name", "cut", "left"),
    [("index.bin", 1, 8), ("index.bin", ENTRY.itemsize, 8), ("encodings.bin", 3, 8), ("summaries.bin", 41 * 3, 5)],
)
def test_a_torn_end_is_cut_off(tmp_path: Path, name: str, cut: int, left: int) -> None:
    scanned(tmp_path, *range(9))
    file = tmp_path / name
    os.truncate(file, file.stat().st_size - cut)
    store = PoolStore(tmp_path)
    assert len(store) == left
    detector = Counting()
    assert store.scan(encoder(detector), images(*range(9))) == list(range(9))
    assert detector.looked == list(range(left, 9))
    got = PoolStore(tmp_path).pool(range(9), [], AP, NAMES)
    np.testing.assert_array_equal(got.encodings[:], np.stack(list(map(encoding, range(9)))))


def test_an_append_that_was_cut_short_does_not_shift_the_next(tmp_path: Path) -> None:
    store = scanned(tmp_path, *range(6))
    with (tmp_path / "encodings.bin").open("ab") as file:
        file.write(b"half a row")
    store.scan(encoder(), images(6, 7))
    np.testing.assert_array_equal(store.pool([7], [], AP, NAMES).encodings[:][0], encoding(7))


@pytest.mark.parametrize("value", [np.nan, 1e9])
def test_a_diverged_encoder_is_named(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="encoding of image 5 is not finite, or above 65504"):
        PoolStore(tmp_path).scan(encoder(Counting(value=value)), images(5))


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"fingerprint": "one"}', '{"fingerprint": "one", "names": [], "width": 0}']
)
def test_a_damaged_store_is_made_anew(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    scanned(tmp_path, *range(6))
    (tmp_path / "store.json").write_text(damage)
    store = PoolStore(tmp_path)
    assert f"{tmp_path / 'store.json'} is damaged" in caplog.text
    assert len(store) == 0
    detector = Counting()
    assert store.scan(encoder(detector), images(4, 5)) == detector.looked == [4, 5]
    np.testing.assert_array_equal(PoolStore(tmp_path).pool([5], [], AP, NAMES).encodings[:][0], encoding(5))


# -- shards -----------------------------------------------------------------------------------------------------------


def test_shards_together_are_one_store(tmp_path: Path) -> None:
    scanned(tmp_path / "one", 1, 2, 3, 4, 5)
    scanned(tmp_path / "two", 9, 8)
    store = PoolStore(tmp_path / "all")
    for shard in ("one", "two", "one"):  # one of them twice
        store.absorb(tmp_path / shard)
    assert len(store) == 7
    assert (tmp_path / "all" / "index.bin").stat().st_size == 7 * ENTRY.itemsize
    detector = Counting()
    assert store.scan(encoder(detector), images(9, 1, 7)) == [9, 1, 7]
    assert detector.looked == [7]
    got, wanted = (
        s.pool([8, 2, 7], [5], AP, NAMES) for s in (PoolStore(tmp_path / "all"), scanned(tmp_path / "x", 8, 2, 7, 5))
    )
    for name in ("ids", "encodings", "descriptors", "labeled_encodings", "standardised"):
        np.testing.assert_array_equal(getattr(got, name)[:], getattr(wanted, name)[:], err_msg=name)


def test_the_newest_of_an_image_counts(tmp_path: Path) -> None:
    store = scanned(tmp_path / "all", 1, 2)
    changed = Planted((2, "data/other.jpg"))
    PoolStore(tmp_path / "shard").scan(encoder(), changed)
    store.absorb(tmp_path / "shard")
    assert len(store) == 2
    assert store.describes([*images(1, 2).keys(), *changed.keys()]).tolist() == [True, False, True]


def test_a_torn_shard_gives_what_is_whole(tmp_path: Path) -> None:
    scanned(tmp_path / "shard", *range(6))
    os.truncate(tmp_path / "shard" / "encodings.bin", 2 * WIDTH * 4 + 1)
    store = PoolStore(tmp_path / "all")
    store.absorb(tmp_path / "shard")
    assert len(store) == len(PoolStore(tmp_path / "all")) == 4
    store.absorb(tmp_path / "empty")
    assert len(store) == 4


def test_a_shard_of_another_encoder_is_refused(tmp_path: Path) -> None:
    store = scanned(tmp_path / "all", 1, 2)
    PoolStore(tmp_path / "shard").scan(encoder(fingerprint="two"), images(3))
    with pytest.raises(
        ValueError, match=r"shard has another fingerprint than .*all: it is of another detector; delete it"
    ):
        store.absorb(tmp_path / "shard")
    assert len(store) == 2


def test_an_empty_store_gives_an_empty_pool(tmp_path: Path) -> None:
    assert len(PoolStore(tmp_path).pool([1, 2], [3], AP, NAMES)) == 0


def test_the_fingerprint_is_that_of_weights_names_and_size(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights")
    detector = Counting()
    first = encoder_fingerprint(weights, detector)
    assert first == encoder_fingerprint(weights, Counting())
    detector.image_size = 96
    assert encoder_fingerprint(weights, detector) != first
    weights.write_bytes(b"other weights")
    assert encoder_fingerprint(weights, Counting()) != first


def test_a_large_pool_stays_on_disk(tmp_path: Path) -> None:
    n, rng = 200_000, np.random.default_rng(0)
    store = scanned(tmp_path, 0)
    entries = np.zeros(n, ENTRY)
    entries["id"] = np.arange(n)
    entries.tofile(tmp_path / "index.bin")
    rng.standard_normal((n, WIDTH), np.float32).astype(np.float16).tofile(tmp_path / "encodings.bin")
    rng.random((n, 4 + 2 * len(NAMES)), np.float32).tofile(tmp_path / "summaries.bin")
    store = PoolStore(tmp_path)
    ids = np.arange(1000, n)
    tracemalloc.start()
    pool = store.pool(ids, np.arange(20), AP, NAMES)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(pool) == n - 1000
    assert kept < 8e6  # ids and rows; the reduced encodings alone would take 25 MB
    assert peak < 60e6
    chosen = np.array([0, 70_000, 198_999])
    np.testing.assert_array_equal(pool.standardised[chosen], pool.reduction.apply(pool.encodings[chosen]))

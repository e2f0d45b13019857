"""PoolStore: what one detector saw, on disk, so that no image is looked at twice.

    store.json        the encoder's fingerprint, its class names and the encodings' width
    index.bin         an id and a digest of the content key per image; written last: a row counts once it is here
    encodings.bin     (n, D) float16
    summaries.bin     (n, 4 + 2 C) float32, `agent.pool.descriptors.describe`: nothing in it depends on a class's AP

Rows are only appended, a block at a time; an image whose content changed gets a new row, and its last row counts. A
killed pass loses at most its unfinished block. One writer at a time, please: lock.

It is a cache: what is damaged is thrown away, all of it or the rows whose numbers no detector gives, and the images are
looked at again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agent.pool.descriptors import describe
from agent.pool.images import DetectionSink, Images
from agent.pool.pool import Pool
from agent.pool.reduction import chunks
from model.atomic import remove, write_file
from model.damage import DamagedError, reading
from model.detectors.base import Detector, Picture
from model.progress import Report, silent

log = logging.getLogger(__name__)

META, INDEX, ENCODINGS, SUMMARIES = "store.json", "index.bin", "encodings.bin", "summaries.bin"
FORMAT = 4  # raised whenever what a row holds changes
ENTRY = np.dtype([("id", "<i8"), ("key", "<u8", 2)])
RUN = 256  # rows read under one mapping: scattered ones each keep 64 kB of their file in memory until it goes
MOST = 1e9  # of a summary: sums over a picture's boxes
BLOCK = 256  # images between two commits: some seconds of a detector's work


def encoder_fingerprint(weights: Path, detector: Detector) -> str:
    """sha256 over a weights file, the class names and the image size: what decides a detector's encodings.

    And over the number of FORMAT: what an earlier one wrote is not read.
    """
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    digest.update(json.dumps([FORMAT, list(detector.names), detector.image_size]).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Encoder:
    """A detector, and the fingerprint of all that decides what it makes of an image (see `encoder_fingerprint`)."""

    detector: Detector
    fingerprint: str


class _Row(NamedTuple):
    """What is written of one image."""

    image: int
    key: str
    encoding: np.ndarray
    summary: np.ndarray


class FileRows:
    """Rows (n, D) of a file that is mapped only while some are read, so that none stay in memory.

    The file stays open: what is read does not change when the store is emptied for another encoder.
    """

    def __init__(self, path: Path, dtype: type[np.floating], width: int, rows: np.ndarray) -> None:
        self.file = path.open("rb")
        self.dtype, self.rows = dtype, rows
        self.shape: tuple[int, ...] = (len(rows), width)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: slice | np.ndarray, /) -> np.ndarray:
        rows = self.rows[key]
        out = np.empty((len(rows), self.shape[1]), self.dtype)
        for part in chunks(len(rows), RUN):
            mapped: np.memmap = np.memmap(self.file, self.dtype, "r", shape=(int(rows[part].max()) + 1, self.shape[1]))
            out[part] = mapped[rows[part]]
        return out

    def __del__(self) -> None:
        self.file.close()


class PoolStore:
    """A directory as the module says; made where there is none, and a torn end is cut off.

    Where a file is damaged the store is emptied, with a warning in the log.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.meta: dict[str, Any] = {}
        self._sound: np.ndarray = np.zeros(0, bool)
        again = "every image is looked at again"
        try:
            with suppress(FileNotFoundError), reading(directory / META, again):
                self.meta = read_meta(directory / META)
            with reading(directory, again):
                self._load()
        except DamagedError as error:
            log.warning("%s", error)
            self.empty()

    def __len__(self) -> int:
        """Images that are known, counted once each."""
        return len(self._ids)

    @property
    def ids(self) -> np.ndarray:
        """(n,) int64, sorted: the images that are known."""
        return self._ids

    def describes(self, images: Sequence[tuple[int, str]]) -> np.ndarray:
        """(n,) bool: whether the store describes each (id, content key)."""
        rows = self._rows(np.array([image for image, _ in images], np.int64))
        keys = _digests(key for _, key in images)
        return (rows >= 0) & (self._keys[rows] == keys).all(axis=1) if len(self) else np.zeros(len(images), bool)

    def scan(
        self,
        encoder: Encoder,
        images: Images,
        sink: DetectionSink | None = None,
        *,
        batch: int = 16,
        report: Report = silent,
    ) -> list[int]:
        """Look once at every image that this encoder has not seen, reading `batch` at a time.

        Another fingerprint than the store's empties the store first.

        Args:
            sink: gets the detections of each new image.
            report: called after every batch, with the number of new images.

        Returns:
            The ids of `images` that the store now describes, in their order.

        Raises:
            ImageError: a picture cannot be read.
            ValueError: an encoding is not finite, or does not fit into float16.
        """
        self._load()  # a pass that failed may have left a torn end
        names = list(encoder.detector.names)
        if self.meta.get("fingerprint") != encoder.fingerprint or self.meta.get("names") != names:
            self.empty()
        listed = images.keys()
        keys = dict(listed)
        missing = [image for (image, _), described in zip(listed, self.describes(listed), strict=True) if not described]
        ids: list[int] = []

        def remember() -> Iterator[Picture]:
            for image, picture in images.pictures(missing):
                ids.append(image)
                yield picture

        block: list[_Row] = []
        scanned = encoder.detector.scan(remember(), batch=batch) if missing else ()
        for done, (detections, encoding) in enumerate(scanned, 1):
            image = ids[done - 1]
            if not (np.abs(encoding) <= np.finfo(np.float16).max).all():  # nan compares false
                raise ValueError(
                    f"encoding of image {image} is not finite, or above 65504: the detector's weights have "
                    "diverged; train again, or go back to an earlier version"
                )
            if sink is not None:
                sink.keep(image, detections)
            summary = describe(detections).astype(np.float32)
            block.append(_Row(image, keys[image], encoding.astype(np.float16), summary))
            if len(block) == BLOCK:
                self._commit(block, encoder, sink)
                block.clear()
            if done % batch == 0 or done == len(missing):
                report(done, len(missing))
        if block:
            self._commit(block, encoder, sink)
        self._load()
        return [image for (image, _), described in zip(listed, self.describes(listed), strict=True) if described]

    def absorb(self, directory: Path) -> None:
        """Append what another store holds, a shard that any machine wrote with the same encoder.

        What is here already is not appended again, so absorbing twice does no harm.

        Raises ValueError where the shard comes from another encoder.
        """
        shard = PoolStore(directory)
        if not len(shard):
            return
        if not self.meta:
            self.empty()
            self._write_meta(shard.meta)
        different = [key for key in ("fingerprint", "names", "width") if shard.meta[key] != self.meta[key]]
        if different:
            raise ValueError(
                f"{directory} has another {' and '.join(different)} than {self.directory}: it is of another detector; "
                "delete it, or absorb it into a store of its own"
            )
        self._load()
        rows = np.sort(shard._last)
        entries = np.fromfile(directory / INDEX, ENTRY)[rows]
        held = self._rows(entries["id"])
        new = (held < 0) if not len(self) else (held < 0) | (self._keys[held] != entries["key"]).any(axis=1)
        rows, entries = rows[new], entries[new]
        encodings = shard._read(ENCODINGS, rows, len(self.meta["names"]))
        summaries = shard._read(SUMMARIES, rows, len(self.meta["names"]))
        for part in chunks(len(rows)):
            self._append(entries[part], encodings[part], summaries[part])
        self._load()

    def pool(
        self,
        ids: Sequence[int] | np.ndarray,
        labeled_ids: Sequence[int] | np.ndarray,
        class_ap: np.ndarray,
        names: Sequence[str],
    ) -> Pool:
        """The pool of the images `ids`, beside the labeled ones; images that the store does not know are left out.

        Raises ValueError where `names` are not those of the detector that saw the images.
        """
        if len(self) and list(names) != self.meta["names"]:
            raise ValueError(
                f"pool of classes {list(names)}, but the store holds {self.meta['names']}: scan with the detector that "
                "serves before asking for its pool"
            )
        unlabeled, rows = self._held(ids)
        labeled, labeled_rows = self._held(labeled_ids)
        return Pool.from_summaries(
            unlabeled,
            self._read(SUMMARIES, rows, len(names)),
            self._read(ENCODINGS, rows, len(names)),
            names,
            self._read(ENCODINGS, labeled_rows, len(names))[:],
            class_ap,
            labeled_ids=labeled,
            labeled_summaries=self._read(SUMMARIES, labeled_rows, len(names)),
            directory=self.directory,
        )

    def _held(self, ids: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images = np.asarray(ids, np.int64).reshape(-1)
        rows = self._rows(images)
        return images[rows >= 0], rows[rows >= 0]

    def _rows(self, ids: np.ndarray) -> np.ndarray:
        """(n,) int64 last row of each id, -1 where there is none."""
        if not len(self):
            return np.full(len(ids), -1, np.int64)
        place = np.searchsorted(self._ids, ids).clip(max=len(self) - 1)
        return np.where(self._ids[place] == ids, self._last[place], -1)

    def _read(self, name: str, rows: np.ndarray, classes: int) -> FileRows | np.ndarray:
        width = self.meta.get("width", 0) if name == ENCODINGS else 4 + 2 * classes
        if not len(self):
            return np.zeros((0, width), np.float32)
        return FileRows(self.directory / name, np.float16 if name == ENCODINGS else np.float32, width, rows)

    def _all(self, name: str, rows: np.ndarray) -> FileRows | np.ndarray:
        """Rows before it is known which images they are of."""
        if not len(rows):
            return np.zeros((0, 1), np.float32)
        encodings = name == ENCODINGS
        width = self.meta["width"] if encodings else 4 + 2 * len(self.meta["names"])
        return FileRows(self.directory / name, np.float16 if encodings else np.float32, width, rows)

    def _load(self) -> None:
        """Read the index, after cutting every file to the rows that all of them hold whole."""
        count = 0
        if self.meta:
            sizes = {
                INDEX: ENTRY.itemsize,
                ENCODINGS: 2 * self.meta["width"],
                SUMMARIES: 4 * (4 + 2 * len(self.meta["names"])),
            }
            paths = {self.directory / name: size for name, size in sizes.items()}
            count = min(path.stat().st_size // size if path.exists() else 0 for path, size in paths.items())
            for path, size in paths.items():
                if path.exists() and path.stat().st_size > count * size:
                    os.truncate(path, count * size)
        entries = np.fromfile(self.directory / INDEX, ENTRY) if count else np.zeros(0, ENTRY)
        self._keys = entries["key"]
        self._judge(count)
        rows = np.flatnonzero(self._sound)
        self._ids, from_the_end = np.unique(entries["id"][rows][::-1], return_index=True)
        self._last = rows[len(rows) - 1 - from_the_end] if len(rows) else np.zeros(0, np.int64)

    def _judge(self, count: int) -> None:
        """See which rows hold numbers that a detector gives; those that were judged before are not read again."""
        self._sound = self._sound[:count]
        new = np.arange(len(self._sound), count)
        encodings, summaries = (self._all(name, new) for name in (ENCODINGS, SUMMARIES))
        sound = np.ones(len(new), bool)
        for part in chunks(len(new)):
            sound[part] = _sound(encodings[part], summaries[part])
        if not sound.all():
            log.warning("%s: %d images are looked at again: their rows are damaged", self.directory, (~sound).sum())
        self._sound = np.concatenate([self._sound, sound])

    def empty(self) -> None:
        """Forget everything."""
        for name in (INDEX, ENCODINGS, SUMMARIES, META):  # the index first: without it nothing counts
            remove(self.directory / name)
        self.meta, self._sound = {}, np.zeros(0, bool)
        self._load()

    def _commit(self, block: list[_Row], encoder: Encoder, sink: DetectionSink | None) -> None:
        """Append rows, their index last, after the sink wrote what it has of them."""
        if sink is not None:
            sink.flush()
        if not self.meta:
            names = list(encoder.detector.names)
            self._write_meta({"fingerprint": encoder.fingerprint, "names": names, "width": len(block[0].encoding)})
        entries = np.zeros(len(block), ENTRY)
        entries["id"] = [row.image for row in block]
        entries["key"] = _digests(row.key for row in block)
        self._append(entries, np.stack([row.encoding for row in block]), np.stack([row.summary for row in block]))

    def _write_meta(self, meta: dict[str, Any]) -> None:
        self.meta = meta
        write_file(self.directory / META, json.dumps(meta).encode())

    def _append(self, entries: np.ndarray, encodings: np.ndarray, summaries: np.ndarray) -> None:
        for name, rows in ((ENCODINGS, encodings), (SUMMARIES, summaries), (INDEX, entries)):
            with (self.directory / name).open("ab") as file:
                file.write(rows.tobytes())
                file.flush()
                os.fsync(file.fileno())


def read_meta(file: Path) -> dict[str, Any]:
    """Raises FileNotFoundError, and ValueError, KeyError or TypeError where it is damaged."""
    meta = json.loads(file.read_bytes())
    names = meta["names"]
    if not (isinstance(names, list) and all(isinstance(text, str) for text in [meta["fingerprint"], *names])):
        raise TypeError("a wrong value")
    if type(meta["width"]) is not int or meta["width"] < 1:
        raise TypeError("a wrong width")
    return meta


def check(directory: Path) -> np.ndarray:
    """(n,) ids of the images that a store knows; it is left as it is.

    Raises FileNotFoundError, or one of `model.damage.SIGNS`, where it is not whole.
    """
    meta = read_meta(directory / META)
    widths = {INDEX: ENTRY.itemsize, ENCODINGS: 2 * meta["width"], SUMMARIES: 4 * (4 + 2 * len(meta["names"]))}
    counts = {name: (directory / name).stat().st_size / width for name, width in widths.items()}
    if directories := [name for name in counts if (directory / name).is_dir()]:
        raise IsADirectoryError(f"a directory lies in the place of {', '.join(directories)}")
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{name} {count:g}" for name, count in counts.items())
        raise ValueError(f"its files hold the rows of different numbers of images: {said}")
    rows = np.arange(round(counts[INDEX]))
    encodings = FileRows(directory / ENCODINGS, np.float16, meta["width"], rows)
    summaries = FileRows(directory / SUMMARIES, np.float32, widths[SUMMARIES] // 4, rows)
    bad = sum(int((~_sound(encodings[part], summaries[part])).sum()) for part in chunks(len(rows)))
    if bad:
        raise ValueError(f"the rows of {bad} images are none that a detector gives")
    return np.unique(np.fromfile(directory / INDEX, ENTRY)["id"])


def _sound(encodings: np.ndarray, summaries: np.ndarray) -> np.ndarray:
    """(n,) whether rows hold numbers that a detector gives."""
    seen = np.isfinite(encodings).all(1) & encodings.any(1)
    return seen & ((summaries > -1e-3) & (summaries < MOST)).all(1)


def _digests(keys: Iterable[str]) -> np.ndarray:
    """(n, 2) uint64, 128 bits of each key."""
    joined = b"".join(hashlib.blake2b(key.encode(), digest_size=16).digest() for key in keys)
    return np.frombuffer(joined, "<u8").reshape(-1, 2)

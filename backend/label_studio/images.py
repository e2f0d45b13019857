"""Image bytes of tasks: uploads, local files, http(s) and cloud storage, kept in a cache of limited size."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import diskcache
import numpy as np

from backend import counters
from backend.label_studio.addresses import is_data, shortened
from backend.label_studio.client import Studio, StudioError, Task
from backend.label_studio.downloads import Downloads, Limits
from model.data.images import ImageError, load_image
from model.data.limits import pixels_of

log = logging.getLogger(__name__)

DOWNLOADS, DECODERS = 8, 4  # at once
AHEAD = 48_000_000  # pixels that are decoded and wait, or one picture that has more


class Pictures:
    """Reads the image of a task, from the cache where it was read before."""

    def __init__(
        self,
        studio: Studio,
        cache_dir: Path,
        cache_gb: float,
        limits: Limits = Limits(),  # noqa: B008  frozen
        note: Callable[[Task, str], None] = lambda *_: None,
    ) -> None:
        """`note`: told of what `stream` leaves out, and why."""
        self.studio, self.note = studio, note
        self.downloads = Downloads(studio, limits)
        self.cache = diskcache.Cache(
            str(cache_dir), size_limit=int(cache_gb * 2**30), eviction_policy="least-recently-used"
        )

    def reference(self, task: Task, key: str) -> str:
        """What the task's data says of its image. Raises ImageError naming the task and the keys it has."""
        value = task.data.get(key)
        if not isinstance(value, str) or not value.strip() or not _is_text(value):
            found = "nothing" if value is None or value == "" else f"a {type(value).__name__}, {str(value)[:60]!r}"
            raise ImageError(
                f"task {task.id} has no image: its data holds {found} under {key!r}, not an address (it has "
                f"{sorted(task.data)}); import the task again with {key!r}"
            )
        return value

    def read(self, task: Task, key: str) -> bytes:
        """The encoded image. Raises ImageError (this image) or StudioAway (nothing can be read now)."""
        reference = self.reference(task, key)
        if is_data(reference):
            return self.downloads.fetch(reference, task.id)
        entry = f"{self.studio.url} {reference}"
        data = self.cache.get(entry)
        if data is None:
            try:
                data = self.downloads.fetch(reference, task.id)
            except (ImageError, StudioError):
                counters.image("failed")
                raise
            counters.image("fetched")
            self.cache.set(entry, data)
        return data

    def decode(self, task: Task, key: str) -> np.ndarray:
        """The picture, (height, width, 3) uint8 RGB. A cached file that does not decode is fetched anew next time."""
        data = self.read(task, key)
        reference = self.reference(task, key)
        try:
            return load_image(data, f"{shortened(reference)} of task {task.id}")
        except ImageError:
            counters.image("unreadable")
            self.cache.delete(f"{self.studio.url} {reference}")
            raise

    def stream(
        self, tasks: Iterable[Task], key: str, failed: list[str] | None = None
    ) -> Iterator[tuple[Task, np.ndarray]]:
        """(task, picture) for each task in order, downloading and decoding a few ahead; an unreadable image is told to
        `failed` and left out, the others go on."""
        waiting = iter(tasks)
        fetching: deque[tuple[Task, Future[int]]] = deque()
        decoding: deque[tuple[Task, Future[Any], int]] = deque()  # with its pixels
        with ThreadPoolExecutor(DOWNLOADS) as fetchers, ThreadPoolExecutor(DECODERS) as decoders, ExitStack() as ending:
            for pool in (fetchers, decoders):
                ending.callback(pool.shutdown, wait=False, cancel_futures=True)  # nobody waits for what is not needed

            def fill() -> None:
                for task in islice(waiting, 2 * DOWNLOADS - len(fetching)):
                    fetching.append((task, fetchers.submit(self._fetched, task, key)))
                while fetching and (not decoding or fetching[0][1].done()):
                    task, fetched = fetching[0]
                    failure = fetched.exception()  # waits for it
                    pixels = 0 if failure else fetched.result()
                    if decoding and sum(held for *_, held in decoding) + pixels > AHEAD:
                        return
                    fetching.popleft()
                    decoding.append((task, fetched if failure else decoders.submit(self.decode, task, key), pixels))

            fill()
            while decoding:
                task, decoded, _ = decoding.popleft()
                try:
                    picture = decoded.result()
                except ImageError as error:
                    log.warning("%s", error)
                    self.note(task, str(error))
                    if failed is not None:
                        failed.append(str(error))
                else:
                    del decoded  # whoever gets the picture decides how long it stays
                    yield task, picture
                    del picture
                fill()

    def _fetched(self, task: Task, key: str) -> int:
        """How many pixels an image has, which is in the cache now; 0 where it is none."""
        data = self.read(task, key)
        try:
            return pixels_of(data)
        except ImageError:
            counters.image("unreadable")
            raise


def _is_text(value: str) -> bool:
    """Whether it can be written down: JSON may hold halves of characters."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

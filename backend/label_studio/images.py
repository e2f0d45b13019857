"""Image bytes of tasks: uploads, local files, http(s) and cloud storage, kept in a cache of limited size."""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from urllib.parse import urljoin, urlparse

import diskcache
import numpy as np
import requests

from backend.label_studio.client import Studio, StudioAway, StudioError, Task
from model.data.images import ImageError, load_image

log = logging.getLogger(__name__)

CLOUD = ("s3:", "gs:", "azure-blob:")
MAX_BYTES = 200_000_000  # one image; more is a mistake or an attack
DOWNLOADS = 8  # at once
ATTEMPTS = 3


class Pictures:
    """Reads the image of a task, from the cache where it was read before."""

    def __init__(self, studio: Studio, cache_dir: Path, cache_gb: float) -> None:
        self.studio = studio
        self.cache = diskcache.Cache(
            str(cache_dir), size_limit=int(cache_gb * 2**30), eviction_policy="least-recently-used"
        )

    def reference(self, task: Task, key: str) -> str:
        """What the task's data says of its image. Raises ImageError naming the task and the keys it has."""
        value = task.data.get(key)
        if not isinstance(value, str) or not value:
            raise ImageError(
                f"task {task.id} has no image: its data holds no text under {key!r} (it has {sorted(task.data)}); "
                f"import the task again with {key!r}"
            )
        return value

    def read(self, task: Task, key: str) -> bytes:
        """The encoded image. Raises ImageError (this image) or StudioAway (nothing can be read now)."""
        reference = self.reference(task, key)
        entry = f"{self.studio.url} {reference}"
        data = self.cache.get(entry)
        if data is None:
            data = self._download(task, reference)
            self.cache.set(entry, data)
        return data

    def decode(self, task: Task, key: str) -> np.ndarray:
        """The picture, (height, width, 3) uint8 RGB. A cached file that does not decode is fetched anew next time."""
        data = self.read(task, key)
        reference = self.reference(task, key)
        try:
            return load_image(data, f"{reference} of task {task.id}")
        except ImageError:
            self.cache.delete(f"{self.studio.url} {reference}")
            raise

    def stream(
        self, tasks: Iterable[Task], key: str, failed: list[str] | None = None
    ) -> Iterator[tuple[Task, np.ndarray]]:
        """(task, picture) for each task in order, downloading a few ahead; an unreadable image is told to `failed`
        and left out, the others go on."""
        waiting = iter(tasks)
        with ThreadPoolExecutor(DOWNLOADS) as pool:
            ahead: list[tuple[Task, Future[np.ndarray]]] = []

            def fill() -> None:
                ahead.extend(
                    (task, pool.submit(self.decode, task, key)) for task in islice(waiting, 2 * DOWNLOADS - len(ahead))
                )

            fill()
            while ahead:
                task, future = ahead.pop(0)
                fill()
                try:
                    picture = future.result()
                except ImageError as error:
                    log.warning("%s", error)
                    if failed is not None:
                        failed.append(str(error))
                    continue
                yield task, picture

    def _download(self, task: Task, reference: str) -> bytes:
        """Label Studio's own addresses get the token; other hosts never see it."""
        if reference.startswith(CLOUD):
            encoded = base64.urlsafe_b64encode(reference.encode()).decode()
            address = f"{self.studio.url}/tasks/{task.id}/presign/?fileuri={encoded}"
        elif reference.startswith(("http://", "https://")):
            address = reference
        elif reference.startswith(("/", "upload/")):
            path = reference if reference.startswith("/") else f"/data/{reference}"
            address = self.studio.url + path
        else:
            raise ImageError(
                f"image {reference!r} of task {task.id}: not an upload, a local file, http(s), s3, gs or azure-blob"
            )
        own = urlparse(address).netloc == urlparse(self.studio.url).netloc
        problem = ""
        for _ in range(ATTEMPTS):
            try:
                return self._get(address, own)
            except requests.ConnectionError as error:
                if own:
                    raise StudioAway(f"Label Studio at {self.studio.url} does not answer") from error
                problem = f"{urlparse(address).netloc} does not answer"
            except requests.Timeout:
                problem = "timed out"
            except requests.HTTPError as error:
                status = error.response.status_code
                problem = f"answered {status}"
                if status in (401, 403) and own:
                    problem += " (may this token see the project's storage?)"
                if status < 500:
                    break
            except (requests.RequestException, StudioError) as error:
                problem = str(error)
                break
        raise ImageError(f"image {reference!r} of task {task.id}: {problem}")

    def _get(self, address: str, own: bool) -> bytes:
        headers = self.studio.authorization() if own else {}
        for _ in range(5):  # redirects by hand: a presigned address must not be sent the token
            with self.studio.session.get(
                address, headers=headers, timeout=(5, 60), stream=True, allow_redirects=False
            ) as reply:
                if reply.is_redirect:
                    address = urljoin(address, reply.headers["location"])
                    if urlparse(address).netloc != urlparse(self.studio.url).netloc:
                        headers = {}
                    continue
                reply.raise_for_status()
                data = b""
                for chunk in reply.iter_content(1 << 20):
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise requests.RequestException(f"is larger than {MAX_BYTES // 10**6} MB")
                return data
        raise requests.RequestException("redirects in a circle")

"""Small pictures of tasks, made when a page asks for them: of a project's images hardly any is ever looked at.

They lie in the cache of images, which is bounded. Few are made at a time; who asks for more waits for a moment.
"""

from __future__ import annotations

import threading
from hashlib import sha256

import cv2

from backend.at_once import BusyError
from backend.label_studio.client import Task
from backend.label_studio.images import Pictures

SIDE = 320  # pixels of the longer one
QUALITY = 80
AT_ONCE, WAIT_SECONDS = 2, 3.0
KEY = "image"

_places = threading.BoundedSemaphore(AT_ONCE)


def thumbnail(pictures: Pictures, task: int, image: str) -> bytes:
    """JPEG of the image of a task, whose address is `image`.

    Raises ImageError (it cannot be read), StudioAway, and BusyError where too many are asked for at once.
    """
    address = sha256(f"{pictures.studio.url} {image}".encode("utf-8", "replace")).hexdigest()  # it may be a whole image
    entry = f"thumbnail {SIDE} {address}"
    held = pictures.cache.get(entry)
    if held is not None:
        return held
    if not _places.acquire(timeout=WAIT_SECONDS):
        raise BusyError
    try:
        picture = pictures.decode(Task(task, {KEY: image}), KEY)
        height, width = picture.shape[:2]
        scale = min(1.0, SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    finally:
        _places.release()
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    data = encoded.tobytes()
    pictures.cache.set(entry, data)
    return data

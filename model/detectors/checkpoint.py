"""Checkpoint: the file from which a training goes on that was interrupted.

Its first 32 bytes are the SHA-256 of the rest, because torch does not notice a flipped bit. The rest is what torch.save
wrote of {"fingerprint": ..., "state": ...}; it is read back as plain values and tensors, and no code in it runs.
"""

from __future__ import annotations

import hashlib
import io
import logging
import time
from pathlib import Path
from typing import Any

import torch

from model.atomic import remove, write_file
from model.data.dataset import Dataset
from model.detectors.base import FitConfig

log = logging.getLogger(__name__)

FORMAT = 1  # raise it when a state means something else: older files are then ignored
SECONDS = 60.0  # between two writings, at least
SHARE = 0.02  # of the training's time that writing may take: a large network is written less often
DIGEST = hashlib.sha256().digest_size


def fingerprint_of(module: torch.nn.Module, dataset: Dataset, config: FitConfig) -> str:
    """64 hex digits that change with all that decides how a training ends: its data and their order, its config, the
    weights that it starts from."""
    order = [image.id for image in dataset.images]
    release = torch.__version__.split("+")[0]  # what follows is the device, which may change under way
    digest = hashlib.sha256(f"{FORMAT} {release} {dataset.fingerprint()} {order} {config}".encode())
    for key, value in module.state_dict().items():
        digest.update(f"{key} {tuple(value.shape)} {value.dtype} ".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


class Checkpoint:
    """The file of one training, which its fingerprint tells from others."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint
        self.next = time.monotonic() + SECONDS

    def read(self) -> dict[str, Any] | None:
        """The state that was kept. None where there is none; a file that is damaged, or of another training, is
        removed, and the log says so."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except IsADirectoryError:
            data = b""
        try:
            if hashlib.sha256(data[DIGEST:]).digest() != data[:DIGEST]:
                raise ValueError("its contents do not match their digest")
            content = torch.load(io.BytesIO(data[DIGEST:]), map_location="cpu", weights_only=True)
            fingerprint, state = content["fingerprint"], content["state"]
        except Exception as error:  # noqa: BLE001 - torch, zip and pickle each have their own
            log.warning("checkpoint %s is damaged and left out, the training begins anew: %s", self.path, error)
        else:
            if fingerprint == self.fingerprint:
                return dict(state)
            log.info("checkpoint %s is of other data, another config or other weights: left out", self.path)
        self.remove()
        return None

    @property
    def due(self) -> bool:
        """Whether it is time to write again."""
        return time.monotonic() >= self.next

    def write(self, state: dict[str, Any]) -> None:
        """Keep the state instead of the one before. A full disk costs the checkpoint, not the training."""
        began = time.monotonic()
        buffer = io.BytesIO()
        torch.save({"fingerprint": self.fingerprint, "state": state}, buffer)
        content = buffer.getvalue()
        try:
            write_file(self.path, hashlib.sha256(content).digest() + content)
        except OSError as error:
            log.warning("the checkpoint could not be written, the training goes on without: %s", error)
        now = time.monotonic()
        log.debug("checkpoint: %.0f MB in %.2f s", len(content) / 1e6, now - began)
        self.next = now + max(SECONDS, (now - began) / SHARE)

    def remove(self) -> None:
        """The training is over: nobody goes on from it."""
        remove(self.path)

"""What one version's detector saw of a project's images: shards that any worker writes, gathered where they are needed.

MODEL_DIR/<project>/pool/<detector>/shards/<name>/   `agent.pool.store` and seen.sqlite of some thousand images
                                   /gathered/        all of them in one: a cache, on each machine

All of it is a cache. A shard that is damaged is deleted, and so is what was gathered where its halves, what the agent
needs and what annotators see, do not fit together: the next survey has the images looked at again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.pool.store import META, Encoder, PoolStore
from backend.label_studio.client import Task
from backend.label_studio.labels import LabelConfig
from backend.project.images import ShownBoxes, TaskImages
from backend.project.predictions import Predictions
from model.artefacts import Artefacts
from model.atomic import TEMPORARY, lock_of, write_file
from model.damage import SIGNS, DamagedError, reading, warn
from model.progress import Report
from model.thresholds import Thresholds

BOXES = "seen.sqlite"
ABSORBED = "absorbed.json"


@dataclass(frozen=True)
class Shown:
    """Which of a detector's boxes annotators are shown, and under which names."""

    config: LabelConfig
    label_map: dict[str, str]
    thresholds: Thresholds


@dataclass(frozen=True)
class Seen:
    """What an encoder saw of a project's images, and the boxes that it would show in them."""

    files: Artefacts
    project: int
    encoder: Encoder
    shown: Shown

    @property
    def path(self) -> str:
        """Its name among the artefacts."""
        return f"{self.project}/pool/{self.folder}"

    @property
    def folder(self) -> str:
        """Stands for the detector and for all that decides what it shows."""
        return hashlib.sha256(self.encoder.fingerprint.encode()).hexdigest()[:16]

    def encode(self, name: str, images: TaskImages, batch: int, report: Report) -> tuple[PoolStore, Predictions]:
        """Look at some images and keep what is seen as a shard; a shard that is there already is taken as it is.

        What a killed worker had looked at is not looked at again on the same machine.
        """
        shard = f"{self.path}/shards/{name}"
        place = self.files.local / shard
        if not self.files.exists(f"{shard}/{META}"):
            half = place.with_name(f"{TEMPORARY}{name}")
            boxes = ShownBoxes(
                Predictions(half / BOXES),
                dict(images.keys()),
                self.shown.config,
                self.encoder.detector.names,
                self.shown.label_map,
                self.shown.thresholds,
            )
            store, _ = _opened(half)
            store.scan(self.encoder, images, boxes, batch=batch, report=report)
            if not len(store):  # no image could be read
                return store, Predictions(half / BOXES)
            self.files.remove(shard)  # what is left of a damaged one
            self.files.push(shard, source=half)
        self.files.pull(shard)
        return PoolStore(place), Predictions(place / BOXES)

    def gather(self) -> tuple[PoolStore, Predictions]:
        """All that was seen, in one store, with what others wrote since it was last asked for."""
        gathered = self.files.local / self.path / "gathered"
        gathered.mkdir(parents=True, exist_ok=True)
        with lock_of(gathered.with_suffix(".lock")):
            store, boxes = _opened(gathered)
            if len(store) and store.meta["fingerprint"] != self.encoder.fingerprint:
                store.empty()
            absorbed = _absorbed(gathered) if len(store) else set()
            for name in self.files.names(f"{self.path}/shards"):
                if name not in absorbed:
                    shard = self.files.pull(f"{self.path}/shards/{name}")
                    try:
                        self._absorb(store, boxes, shard)
                    except DamagedError as error:
                        warn(f"{error}; what was seen in {shard} is looked at again")
                        self.files.remove(f"{self.path}/shards/{name}")
                        continue
                    absorbed.add(name)
                    write_file(gathered / ABSORBED, json.dumps(sorted(absorbed)).encode())
                    if not self.files.copied:  # the gathered store is all that this disk needs
                        self.files.remove(f"{self.path}/shards/{name}")
            self._take_over(store, boxes)
        return store, boxes

    def unseen(self, tasks: Sequence[Task], data_key: str) -> list[Task]:
        """The tasks whose images nobody has looked at."""
        store, _ = self.gather()
        described = store.describes([(task.id, str(task.data.get(data_key))) for task in tasks])
        return [task for task, known in zip(tasks, described, strict=True) if not known]

    def forget_others(self) -> None:
        """Delete what other versions' detectors saw."""
        for name in self.files.names(f"{self.project}/pool"):
            if name != self.folder:
                self.files.remove(f"{self.project}/pool/{name}")

    def _absorb(self, store: PoolStore, boxes: Predictions, directory: Path) -> None:
        """Take over what another directory holds. Raises DamagedError where it is not what this encoder saw."""
        with reading(directory, "it is left out"):
            shard, shown = PoolStore(directory), Predictions(directory / BOXES)
            shown.check()
            if not len(shard) or not shown.tasks().issuperset(shard.ids.tolist()):
                raise ValueError(f"it knows {len(shard)} images, and boxes of {len(shown)}, which are not the same")
            if shard.meta["fingerprint"] != self.encoder.fingerprint:
                raise ValueError("it is of another detector")
        boxes.put((task, image, score, regions) for task, image, score, regions in shown.rows())
        store.absorb(directory)

    def _take_over(self, store: PoolStore, boxes: Predictions) -> None:
        """Read what was kept before there were shards."""
        before = self.files.local / f"{self.project}/pool"
        if len(store) or not (before / META).exists():
            return
        try:
            if json.loads((before / META).read_text()).get("fingerprint") == self.encoder.fingerprint:
                self._absorb(store, boxes, before)
        except SIGNS as error:
            warn(f"{before} is damaged ({error}): its images are looked at again")


def _opened(directory: Path) -> tuple[PoolStore, Predictions]:
    """Both halves of what was seen; where they do not fit together, empty ones."""
    store, boxes = PoolStore(directory), Predictions(directory / BOXES)
    try:
        boxes.check()
        whole = boxes.tasks().issuperset(store.ids.tolist())
    except DamagedError as error:
        warn(str(error))
        whole = False
    if not whole:
        warn(f"{directory}: the boxes of some images are lost, so they are looked at again")
        store.empty()
        boxes.delete()
    return store, boxes


def _absorbed(gathered: Path) -> set[str]:
    file = gathered / ABSORBED
    try:
        with reading(file, "all shards are taken over once more"):
            names = json.loads(file.read_bytes())
            return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
    except FileNotFoundError:
        return set()
    except DamagedError as error:
        warn(str(error))
        return set()

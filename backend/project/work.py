"""What the jobs share: one project's tasks as a data set and as a pool, and the boxes that are kept of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from agent.cycle import Cycle, CycleConfig
from agent.inner_loop.plan import SurrogateConfig
from agent.inner_loop.planning import PlanConfig
from agent.pool.pool import Pool
from agent.pool.store import Encoder, PoolStore, encoder_fingerprint
from agent.strategies import Ranking
from backend.label_studio.client import Studio, Task
from backend.label_studio.images import Pictures
from backend.label_studio.labels import LabelConfig, boxes
from backend.project.images import ShownBoxes, TaskImages
from backend.project.publish import LABELED, Publisher, scores
from backend.project.published import Predictions, Published
from backend.project.serving import detector_of, image_size, store_of
from backend.queue.enqueue import Jobs
from backend.queue.progress import Progress
from backend.settings import Settings
from model.data.dataset import Dataset, LabeledImage
from model.detectors.base import FitConfig
from model.evaluate import Metrics
from model.versions import Version


@dataclass
class ProjectWork:
    """What the jobs share: one project, its settings, its helpers, and how far things are."""

    project: int
    settings: Settings
    jobs: Jobs
    progress: Progress

    def __post_init__(self) -> None:
        self.studio = Studio.from_settings(self.settings)
        self.store = store_of(self.settings, self.project)
        self.published = Published(self.settings.model_dir / str(self.project))
        self.pictures = Pictures(self.studio, self.settings.cache_dir, self.settings.cache_gb)
        self.publisher = Publisher(self.studio, self.project, self.store, self.published)
        info = self.studio.project(self.project)
        self.config = LabelConfig.parse(info["label_config"])
        self.annotations: int = info["total_annotations_number"]
        self.failed: list[str] = []

    @cached_property
    def config_of_cycle(self) -> CycleConfig:
        """How a cycle trains and ranks, by the settings."""
        s = self.settings
        fit = FitConfig(
            epochs=s.train_epochs, min_steps=s.train_min_steps, batch=s.batch, image_size=image_size(s), seed=s.seed
        )
        training = SurrogateConfig(steps=s.mgral_steps, batch=s.batch, seed=s.seed)
        plan = PlanConfig(s.mgral_hindsight, s.mgral_surrogates, training)
        return CycleConfig(fit, s.strategy, s.budget, s.seed, plan, s.mgral_time_budget)

    def labeled_tasks(self) -> list[Task]:
        """Tasks with an annotation that counts: submitted, not skipped."""
        self.progress("fetch", 0, 1)
        return [task for task in self.studio.annotated(self.project) if _annotation(task)]

    def dataset(self, tasks: list[Task], folder: Path) -> Dataset:
        """The labeled tasks as a data set, their images written below `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        images = []
        for number, (task, picture) in enumerate(self.pictures.stream(tasks, self.config.data_key, self.failed), 1):
            path = folder / str(task.id)
            path.write_bytes(self.pictures.read(task, self.config.data_key))
            size = (picture.shape[1], picture.shape[0])
            annotation = _annotation(task)
            assert annotation is not None
            xyxy, classes = boxes(annotation["result"], self.config, size)
            images.append(LabeledImage(task.id, path, size, xyxy, classes))
            self.progress("fetch", number, len(tasks))
        return Dataset(tuple(images), self.config.labels)

    def cycle(self, tasks: list[Task]) -> Cycle:
        """A cycle on the images of some tasks."""
        images = TaskImages(tasks, self.pictures, self.config.data_key, self.failed)
        return Cycle(images, self.config_of_cycle, self.progress)

    def look(self, tasks: list[Task], labeled: set[int], version: Version) -> Pool:
        """Let a version's detector see the tasks that it has not seen; its boxes go into `seen`."""
        detector = detector_of(version)
        label_map = self.config.label_map(detector.names)
        if not label_map:
            self.progress.say(self.config.no_match(detector.names))
        threshold = self.config.shown_from(self.settings.model_score_threshold)
        shown_by = f"{threshold} {self.config.labels} {sorted(label_map.items())}"
        cycle = self.cycle(tasks)
        return cycle.look(
            PoolStore(self.published.directory / "pool"),
            Encoder(detector, encoder_fingerprint(version.weights, detector) + shown_by),
            labeled,
            Metrics(**version.metrics) if version.metrics else None,
            ShownBoxes(self.seen, dict(cycle.images.keys()), self.config, detector.names, label_map, threshold),
        )

    @property
    def seen(self) -> Predictions:
        """What the detector of the pool store saw: every box that it would show."""
        return Predictions(self.published.directory / "pool" / "seen.sqlite")

    def keep(self, name: str, pool: Pool, ranking: Ranking) -> Predictions:
        """Put the boxes of a pool and of its labeled images, with their places, under a publication's name."""
        stored = self.published.predictions(name)
        labeled = np.zeros(0, np.int64) if pool.labeled_ids is None else pool.labeled_ids
        predictions = self.seen.get(int(task) for task in [*pool.ids, *labeled])
        stored.put((task, image, LABELED, result) for task, (image, _, result) in predictions.items())
        stored.rescore(scores(ranking))
        return stored


def _annotation(task: Task) -> dict | None:
    """The annotation to learn from: a ground truth if there is one, else the newest; skipped ones do not count."""
    usable = [a for a in task.annotations if not a.get("was_cancelled")]
    return max(usable, key=lambda a: (bool(a.get("ground_truth")), a.get("updated_at", "")), default=None)

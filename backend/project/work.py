"""What the jobs share: one project's tasks as a data set and as a pool, and the boxes that are kept of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rq.job import Job

from agent.cycle import Cycle, CycleConfig
from agent.inner_loop.plan import SurrogateConfig
from agent.inner_loop.planning import PlanConfig
from agent.learning import Learned, recall
from agent.pool.store import Encoder, encoder_fingerprint
from backend.label_studio.agreement import agreed
from backend.label_studio.client import Studio, Task
from backend.label_studio.downloads import Limits
from backend.label_studio.images import Pictures
from backend.label_studio.labels import LabelConfig, read
from backend.project.boxes.thresholds import thresholds_of
from backend.project.cycle import CycleFolder
from backend.project.images import TaskImages
from backend.project.left_out import LeftOut
from backend.project.publish import Publisher
from backend.project.seen import Seen, Shown
from backend.project.serving import detector_of, image_size, published_of, store_of
from backend.project.unreadable import Unreadable
from backend.queue.enqueue import Jobs
from backend.queue.progress import Progress
from backend.settings import Settings
from model.data.dataset import Dataset, LabeledImage
from model.data.images import ImageError
from model.detectors.base import FitConfig
from model.versions import Version


@dataclass
class ProjectWork:
    """What the jobs share: one project, its settings, its helpers, and how far things are."""

    project: int
    settings: Settings
    jobs: Jobs
    progress: Progress

    def __post_init__(self) -> None:
        self.files = self.settings.artefacts
        self.store = store_of(self.settings, self.project)
        self.published = published_of(self.settings, self.project)
        self.failed: list[str] = []

    @property
    def places(self) -> dict[str, Path]:
        """Where jobs write: setting -> directory."""
        return {"MODEL_DIR": self.files.local, "CACHE_DIR": self.settings.cache_dir}

    @cached_property
    def studio(self) -> Studio:
        """Label Studio; what does without it works while it is away."""
        return Studio.from_settings(self.settings)

    @cached_property
    def pictures(self) -> Pictures:
        """The images of tasks."""
        note = Unreadable(self.jobs, self.project, self.config.data_key).note
        return Pictures(self.studio, self.settings.cache_dir, self.settings.cache_gb, Limits.of(self.settings), note)

    @cached_property
    def publisher(self) -> Publisher:
        """Changes what annotators see."""
        return Publisher(self.studio, self.project, self.store, self.published)

    @cached_property
    def info(self) -> dict:
        """The project as Label Studio has it."""
        return self.studio.project(self.project)

    @cached_property
    def config(self) -> LabelConfig:
        """The project's label config."""
        return LabelConfig.parse(self.info["label_config"])

    @property
    def annotations(self) -> int:
        """How many annotations the project has."""
        return self.info["total_annotations_number"]

    @cached_property
    def config_of_cycle(self) -> CycleConfig:
        """How a cycle trains and ranks, by the settings."""
        s = self.settings
        fit = FitConfig(
            epochs=s.train_epochs, min_steps=s.train_min_steps, batch=s.batch, image_size=image_size(s), seed=s.seed
        )
        training = SurrogateConfig(steps=s.mgral_steps, batch=s.batch, seed=s.seed)
        plan = PlanConfig(s.mgral_hindsight, s.mgral_surrogates, training, s.mgral_measure == "always")
        return CycleConfig(fit, s.strategy, s.budget, s.seed, plan, s.mgral_time_budget)

    def labeled_tasks(self) -> list[Task]:
        """Tasks with an annotation that counts: submitted, not skipped."""
        self.progress("fetch", 0, 1)
        return [task for task in self.studio.annotated(self.project) if counting_of(task)[0]]

    def dataset(self, tasks: list[Task], folder: Path) -> tuple[Dataset, LeftOut]:
        """The labeled tasks as a data set, their images written below `folder`, and what is left out of it.

        An image is learned as background only where its annotation draws nothing at all.
        """
        folder.mkdir(parents=True, exist_ok=True)
        images, left_out = [], LeftOut(len(tasks), rule=self.settings.several_annotations)
        unread = dict.fromkeys(task.id for task in tasks)
        for number, (task, picture) in enumerate(self.pictures.stream(tasks, self.config.data_key, self.failed), 1):
            path = folder / str(task.id)
            try:
                path.write_bytes(self.pictures.read(task, self.config.data_key))
            except ImageError as error:  # gone since it was decoded, from the cache too
                self.failed.append(str(error))
                continue
            del unread[task.id]
            size = (picture.shape[1], picture.shape[0])
            counting, several = counting_of(task, self.settings.several_annotations)
            left_out.several += several
            reading = agreed([read(annotation.get("result"), self.config, size) for annotation in counting])
            if reading.problem is None:
                images.append(LabeledImage(task.id, path, size, reading.xyxy, reading.class_ids))
            else:
                left_out.add(task.id, reading.problem)
            self.progress("fetch", number, len(tasks))
        for task_id in unread:
            left_out.add(task_id, "an image that cannot be read")
        return Dataset(tuple(images), self.config.labels), left_out

    def images(self, tasks: Sequence[Task]) -> TaskImages:
        """The images of some tasks; what cannot be read goes into `failed`."""
        return TaskImages(tasks, self.pictures, self.config.data_key, self.failed)

    def cycle(self, tasks: Sequence[Task]) -> Cycle:
        """A cycle on the images of some tasks."""
        return Cycle(self.images(tasks), self.config_of_cycle, self.progress)

    def folder(self, name: str) -> CycleFolder:
        """The folder of the cycle that this job belongs to."""
        return CycleFolder(self.files, self.project, name, self.head)

    def learned(self, folder: CycleFolder) -> Learned:
        """What the cycle's training gave. Raises FileNotFoundError where it has not ended."""
        return recall(folder.pull(only="learned.json"), self.store)

    def seen_by(self, version: Version) -> Seen:
        """What a version's detector saw of the project's images."""
        detector = detector_of(version)
        label_map = self.config.label_map(detector.names, trained=version.parent is not None)
        thresholds = thresholds_of(self.settings, version)
        shown_by = self.config.shown_by(thresholds, label_map)
        encoder = Encoder(detector, encoder_fingerprint(version.weights, detector) + shown_by)
        return Seen(self.files, self.project, encoder, Shown(self.config, label_map, thresholds))

    # -- the queue ----------------------------------------------------------------------------------------------------

    def end_cycle(self) -> None:
        """The cycle has ended, well or not: the one that waits for its end may begin."""
        self.jobs.note_end(self.project)
        self.jobs.advance(self.project, self.job.id)

    def add(self, part: str, *arguments: Any, name: str | None = None, after: Sequence[Job] = (), **meta: Any) -> Job:
        """Add a job to the cycle that this job belongs to: see `Jobs.add`."""
        return self.jobs.add(self.head, part, self.project, *arguments, name=name, after=after, **meta)

    @property
    def head(self) -> str:
        """The id of the first job of the cycle."""
        return self.job.meta.get("head", self.job.id)

    @property
    def job(self) -> Job:
        """The job that runs."""
        if self.progress.job is None:
            raise RuntimeError("this is work for a queued job: start a training or a ranking instead")
        return self.progress.job


def counting_of(task: Task, rule: str = "newest") -> tuple[list[dict], bool]:
    """The annotations to learn from, newest first, and whether others or several could count.

    A ground truth if there is one, else by the rule: the newest, or for "majority" each annotator's newest. What was
    skipped does not count.
    """
    usable = [a for a in task.annotations if isinstance(a, dict) and not a.get("was_cancelled")]
    newest_first = sorted(usable, key=lambda a: str(a.get("updated_at") or ""), reverse=True)
    if truth := [a for a in newest_first if a.get("ground_truth")]:
        return truth[:1], False
    by_annotator: dict[str, dict] = {}
    for number, annotation in enumerate(newest_first):
        who = annotation.get("completed_by") or f"unknown {number}"
        by_annotator.setdefault(str(who.get("id") if isinstance(who, dict) else who), annotation)
    counting = list(by_annotator.values())
    return counting if rule == "majority" else counting[:1], len(counting) > 1

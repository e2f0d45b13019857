"""The jobs that a worker runs: train, rank, predict, reconcile. Each is safe to run again after a crash."""

from __future__ import annotations

import json
import logging
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import redis
from rq import get_current_job

from agent.cycle import COLD, CycleConfig, Learned, has_boxes, learn, order
from agent.strategies import Ranking
from backend.labels import LabelConfig, LabelConfigError, boxes, regions
from backend.pictures import Pictures
from backend.publish import LABELED, clean_up, publish, scores
from backend.published import Publication, Published
from backend.queue import Jobs, Progress
from backend.serving import detector_of, first_version, image_size, store_of
from backend.settings import Settings, get_settings
from backend.studio import Studio, StudioAway, StudioError, Task
from model.dataset import Dataset, LabeledImage
from model.detections import Detections
from model.detector import FitConfig
from model.evaluate import Metrics
from model.versions import Version

log = logging.getLogger(__name__)

STAGES: dict[str, dict[str, float]] = {
    "train": {
        "fetch": 4,
        "train": 62,
        "evaluate": 3,
        "evaluate the serving model": 3,
        "scan": 20,
        "rank": 2,
        "import": 6,
    },
    "rank": {"fetch": 5, "scan": 70, "rank": 5, "import": 20},
    "predict": {"fetch": 5, "scan": 70, "rank": 5, "import": 20},
}


class JobError(RuntimeError):
    """A job that cannot succeed as things stand; one line for people."""


def train(project: int) -> dict:
    """Learn from the annotations, then rank and publish with the better model."""
    with _running("train", project) as work:
        labeled = work.labeled_tasks()
        with tempfile.TemporaryDirectory(prefix="mgral-train-") as folder:
            dataset = work.dataset(labeled, Path(folder))
            if not has_boxes(dataset):
                raise JobError(
                    f"project {project} has no boxes to learn from ({len(labeled)} annotated tasks): draw some with "
                    f"the labels {', '.join(work.config.labels)}, then start training again"
                )
            serving = first_version(work.store, work.settings, work.config)
            learned = learn(work.store, serving, detector_of(serving), dataset, work.cycle, work.progress)
        work.progress.say(f"{learned.version.name}: {learned.reason}")
        if learned.metrics:
            work.progress.say(str(learned.metrics))
        result = work.rank_and_publish({task.id for task in labeled}, learned)
    if work.jobs.take_again(project) and work.studio.project(project)["total_annotations_number"] > work.annotations:
        work.jobs.enqueue("train", project)
    return {**result, "version": learned.version.name, "promoted": learned.promote, "reason": learned.reason}


def rank(project: int) -> dict:
    """Order the tasks with the serving model; without any label, by coverage."""
    with _running("rank", project) as work:
        return work.rank_and_publish({task.id for task in work.labeled_tasks()}, None)


def predict(project: int) -> dict:
    """Predict the tasks that have no prediction of the live version, and put them into its order."""
    with _running("predict", project) as work:
        live = work.published.current()
        if live is None:
            return work.rank_and_publish({task.id for task in work.labeled_tasks()}, None)
        work.progress("fetch", 0, 1)
        tasks = list(work.studio.without_prediction(project, live.model_version))
        known = work.published.predictions(live.model_version).get(task.id for task in tasks)
        ready = [
            {"task": t.id, "result": known[t.id][2], "score": known[t.id][1], "model_version": live.model_version}
            for t in tasks
            if t.id in known and known[t.id][0] == t.data.get(work.config.data_key)
        ]
        ready_ids = {item["task"] for item in ready}
        fresh = [task for task in tasks if task.id not in ready_ids]
        ranking = work.scan(fresh, set(), work.store.get(live.version), live.model_version, live.strategy)
        stored = work.published.predictions(live.model_version)
        new = stored.get(int(task) for task in ranking.order)
        ready += [
            {"task": task, "result": result, "score": score, "model_version": live.model_version}
            for task, (_, score, result) in new.items()
        ]
        count, _ = work.studio.import_predictions(project, ready, len(ready), partial(work.progress, "import"))
        work.progress.say(f"predicted {count} tasks under {live.model_version}")
        return {"predicted": count, "failed": work.failed, "model_version": live.model_version}


def reconcile() -> None:
    """Find what lost events should have started: unpredicted tasks, and enough new annotations."""
    settings = get_settings()
    jobs = Jobs(settings)
    try:
        studio = Studio.from_settings(settings)
        for folder in sorted(settings.model_dir.glob("*/published.json")):
            project = int(folder.parent.name)
            try:
                _reconcile(settings, jobs, studio, project)
            except StudioAway:
                raise
            except StudioError as error:  # one project that is gone must not stop the others
                log.warning("project %d: %s", project, error)
    finally:
        jobs.schedule_reconcile(settings.reconcile_seconds)


def _reconcile(settings: Settings, jobs: Jobs, studio: Studio, project: int) -> None:
    live = Published(settings.model_dir / str(project)).current()
    if live is None:
        return
    count = studio.project(project)["total_annotations_number"]
    if due(settings, jobs, project, count):
        log.info("project %d has %d annotations: training", project, count)
        jobs.enqueue("train", project)
    elif next(studio.without_prediction(project, live.model_version), None) is not None:
        jobs.enqueue("predict", project)


def due(settings: Settings, jobs: Jobs, project: int, annotations: int) -> bool:
    """Whether enough annotations came since the last training for one to start by itself."""
    every = settings.start_training_each_n_updates
    if not every:
        return False
    live = Published(settings.model_dir / str(project)).current()
    return annotations - max(jobs.attempted(project), live.annotations if live else 0) >= every


@dataclass
class _Work:
    """What the jobs share: one project, its settings, its helpers, and how far things are."""

    kind: str
    project: int
    settings: Settings
    jobs: Jobs
    progress: Progress

    def __post_init__(self) -> None:
        self.studio = Studio.from_settings(self.settings)
        self.store = store_of(self.settings, self.project)
        self.published = Published(self.settings.model_dir / str(self.project))
        self.pictures = Pictures(self.studio, self.settings.cache_dir, self.settings.cache_gb)
        info = self.studio.project(self.project)
        self.config = LabelConfig.parse(info["label_config"])
        self.annotations: int = info["total_annotations_number"]
        self.failed: list[str] = []
        if self.kind == "train":
            self.jobs.note_attempt(self.project, self.annotations)

    @cached_property
    def cycle(self) -> CycleConfig:
        s = self.settings
        fit = FitConfig(
            epochs=s.train_epochs, min_steps=s.train_min_steps, batch=s.batch, image_size=image_size(s), seed=s.seed
        )
        return CycleConfig(fit=fit, strategy=s.strategy, budget=s.budget, seed=s.seed)

    def labeled_tasks(self) -> list[Task]:
        """Tasks with an annotation that counts: submitted, not skipped."""
        self.progress("fetch", 0, 1)
        return [task for task in self.studio.annotated(self.project) if _annotation(task)]

    def dataset(self, tasks: list[Task], folder: Path) -> Dataset:
        """The labeled tasks as a data set, their images written below `folder`."""
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

    def rank_and_publish(self, labeled: set[int], learned: Learned | None) -> dict:
        """Order every task with the model that is to serve, and make the result live."""
        serving = first_version(self.store, self.settings, self.config)
        if learned is not None and learned.promote:
            serving = learned.version
        self.progress("fetch", 0, 1)
        tasks = list(self.studio.tasks(self.project))
        name = self.published.next_name(serving.name)
        self.published.predictions_file(name).unlink(missing_ok=True)  # of a try that crashed
        ranking = self.scan(tasks, labeled, serving, name, self.settings.strategy if labeled else COLD)
        publication = Publication(name, serving.name, ranking.strategy, self.annotations)
        record = {
            "model_version": name,
            "strategy": ranking.strategy,
            "budget": ranking.budget,
            "order": [int(task) for task in ranking.order],
            "scores": [float(score) for score in ranking.scores],
            "reasons": list(ranking.reasons),
            "map_before": learned.before.map if learned and learned.before else None,
            "map_after": learned.metrics.map if learned and learned.metrics else None,
        }
        self.store.write(serving.name, "ranking.json", json.dumps(record).encode())
        publish(
            self.studio,
            self.project,
            self.store,
            self.published,
            publication,
            self.progress.say,
            partial(self.progress, "import"),
        )
        clean_up(self.studio, self.project, self.store, self.published, self.settings)
        for problem in self.failed:
            self.progress.say(f"left out: {problem}")
        return {
            "model_version": name,
            "strategy": ranking.strategy,
            "predicted": len(self.published.predictions(name)),
            "failed": self.failed,
        }

    def scan(self, tasks: list[Task], labeled: set[int], version: Version, name: str, strategy: str) -> Ranking:
        """Predict `tasks` with a version, keep the predictions under `name`, return the order of the unlabeled ones."""
        detector = detector_of(version)
        metrics = Metrics(**version.metrics) if version.metrics else None
        label_map = self.config.label_map(detector.names)
        if not label_map:
            self.progress.say(self.config.no_match(detector.names))
        threshold = self.config.threshold if self.config.threshold is not None else self.settings.model_score_threshold
        by_id = {task.id: task for task in tasks}
        store = self.published.predictions(name)
        rows: list[tuple[int, str, float, list[dict]]] = []

        def keep(task: int, found: Detections) -> None:
            shown = regions(found, detector.names, self.config, label_map, threshold)
            rows.append((task, by_id[task].data[self.config.data_key], LABELED, shown))
            if len(rows) >= 500:
                store.put(rows)
                rows.clear()

        def stream(chosen: list[Task]) -> Iterator[tuple[int, np.ndarray]]:
            for task, picture in self.pictures.stream(chosen, self.config.data_key, self.failed):
                yield task.id, picture

        known = [task for task in tasks if task.id in labeled]
        unknown = [task for task in tasks if task.id not in labeled]
        ranking = order(
            detector,
            metrics,
            partial(stream, known),
            partial(stream, unknown),
            (len(known), len(unknown)),
            replace(self.cycle, strategy=strategy),
            self.progress,
            keep,
        )
        store.put(rows)
        store.rescore(scores(ranking))
        return ranking


def _annotation(task: Task) -> dict | None:
    """The annotation to learn from: a ground truth if there is one, else the newest; skipped ones do not count."""
    usable = [a for a in task.annotations if not a.get("was_cancelled")]
    return max(usable, key=lambda a: (bool(a.get("ground_truth")), a.get("updated_at", "")), default=None)


@contextmanager
def _running(kind: str, project: int) -> Iterator[_Work]:
    """Alone on its project, with progress; a transient fault is tried again, any other fails with one line."""
    settings = get_settings()
    jobs = Jobs(settings)
    job = get_current_job()
    progress = Progress(job, STAGES[kind])
    try:
        with _alone(jobs, project, progress):
            yield _Work(kind, project, settings, jobs, progress)
            progress.finish()
    except (StudioAway, redis.ConnectionError) as error:
        left = job.retries_left if job is not None else 0
        progress.fail(f"{error}" + (f" (trying again, {left} tries left)" if left else ""))
        raise
    except (JobError, StudioError, LabelConfigError, ValueError, ArithmeticError, OSError) as error:
        if job is not None:
            job.retries_left = 0  # it would fail the same way
        progress.fail(str(error))
        raise JobError(str(error)) from error
    except Exception as error:
        if job is not None:
            job.retries_left = 0
        progress.fail(f"unexpected {type(error).__name__}: {error}; the worker's log has the traceback")
        raise


@contextmanager
def _alone(jobs: Jobs, project: int, progress: Progress) -> Iterator[None]:
    """Hold the project's lock, renewed by a thread, so that a dead worker frees it within half a minute."""
    lock = jobs.exclusive(project)
    if not lock.acquire(blocking=False):
        progress.say(f"waiting for another job of project {project}")
        lock.acquire()
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(8):
            try:
                lock.reacquire()
            except redis.RedisError as error:
                log.warning("the lock of project %d was not renewed: %s", project, error)

    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        try:
            lock.release()
        except redis.RedisError as error:
            log.warning("the lock of project %d was lost: %s", project, error)

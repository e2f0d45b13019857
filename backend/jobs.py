"""The jobs that a worker runs: train, rank, predict, reconcile. Each is safe to run again after a crash."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import redis
from rq import get_current_job

from agent import variants
from agent.cycle import COLD, CycleConfig, Learned, has_boxes, learn_once, look, prepare
from agent.cycle import rank as order
from agent.gain_rows import Rows
from agent.planning import PlanConfig
from agent.pool import Pool
from agent.pool_store import PoolStore, encoder_fingerprint
from agent.strategies import Ranking
from agent.strategies.mgral import UNTRUSTED, Mgral
from agent.variants import Plan, SurrogateConfig
from backend.fanout import fan_out, run_claimed
from backend.labels import LabelConfig, LabelConfigError, boxes, regions
from backend.pictures import Pictures
from backend.publish import LABELED, clean_up, publish, scores
from backend.published import Predictions, Publication, Published
from backend.queue import Jobs, Progress
from backend.serving import detector_of, first_version, image_size, store_of
from backend.settings import Settings, get_settings
from backend.studio import Studio, StudioAway, StudioError, Task
from model.atomic import remove
from model.dataset import Dataset, LabeledImage
from model.detections import Detections
from model.detector import FitConfig
from model.evaluate import Metrics
from model.images import ImageError
from model.versions import Version

log = logging.getLogger(__name__)

STAGES: dict[str, dict[str, float]] = {
    "train": {
        "fetch": 3,
        "train": 32,
        "evaluate": 2,
        "evaluate the serving model": 1,
        "scan": 8,
        "hindsight": 8,
        "controls": 8,
        "variants": 26,
        "rank": 8,
        "import": 4,
    },
    "rank": {"fetch": 5, "scan": 70, "rank": 5, "import": 20},
    "predict": {"fetch": 5, "scan": 70, "rank": 5, "import": 20},
}


KEEP_CYCLES = 10  # that measured gains are kept for


class JobError(RuntimeError):
    """A job that cannot succeed as things stand; one line for people."""


def train(project: int) -> dict:
    """Learn from the annotations, then rank and publish with the better model.

    What is finished before a crash is kept in `Published.directory / "cycle"`, and not done again.
    """
    with _running("train", project) as work:
        labeled = work.labeled_tasks()
        folder = work.published.directory / "cycle"
        dataset = work.dataset(labeled, folder / "images")
        if not has_boxes(dataset):
            raise JobError(
                f"project {project} has no boxes to learn from ({len(labeled)} annotated tasks): draw some with "
                f"the labels {', '.join(work.config.labels)}, then start training again"
            )
        serving = first_version(work.store, work.settings, work.config)
        learned = learn_once(folder, work.store, serving, detector_of(serving), dataset, work.cycle, work.progress)
        work.progress.say(f"{learned.version.name}: {learned.reason}")
        if learned.metrics:
            work.progress.say(str(learned.metrics))
        result = work.rank_and_publish({task.id for task in labeled}, _Cycle(learned, dataset, folder))
        remove(folder)
    if work.jobs.take_again(project) and work.studio.project(project)["total_annotations_number"] > work.annotations:
        work.jobs.enqueue("train", project)
    return {**result, "version": learned.version.name, "promoted": learned.promote, "reason": learned.reason}


def variant(project: int, folder: str, index: int) -> str:  # noqa: ARG001  the project is for people
    """Train one variant of a project's cycle, unless it is done or the cycle is over."""
    path = Path(folder)
    return run_claimed(Jobs(get_settings()), path, index, variants.run, partial(variants.done, path))


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
        version = work.store.get(live.version)
        pool = work.look(fresh, set(), version)
        # the agent learns a whole pool's order; a few late tasks are put in by the strategy that stands in for it
        strategy = UNTRUSTED if live.strategy == Mgral.name else live.strategy
        ranking = order(pool, Rows(), 0, replace(work.cycle, strategy=strategy), work.progress)
        stored = work.keep(live.model_version, pool, ranking)
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


@dataclass(frozen=True)
class _Cycle:
    """What a training hands on to the ranking: what was learned from which images, and where the cycle's files are."""

    learned: Learned
    dataset: Dataset
    folder: Path


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

    def rank_and_publish(self, labeled: set[int], cycle: _Cycle | None) -> dict:
        """Order every task with the model that is to serve, and make the result live."""
        serving = first_version(self.store, self.settings, self.config)
        learned = cycle.learned if cycle else None
        if learned is not None and learned.promote:
            serving = learned.version
        self.progress("fetch", 0, 1)
        tasks = list(self.studio.tasks(self.project))
        pool = self.look(tasks, labeled, serving)
        rows, trained, number = self.gain_rows(), None, serving.number
        if cycle is not None and self.cycle.strategy == Mgral.name and len(pool):
            plan = self.inner_loop(cycle, {task.id: task for task in tasks}, pool, serving)
            rows = Rows([row for row in rows if 0 < plan.cycle - row.cycle <= KEEP_CYCLES] + plan.rows())
            rows.save(self.rows_file)
            number = plan.cycle
            trained = sum(plan.done(k) for k in range(len(plan.variants)))
        config = self.cycle if labeled else replace(self.cycle, strategy=COLD)
        ranking = order(pool, rows, number, config, self.progress)
        strategy = ranking.details.get("chosen", ranking.strategy)
        name = self.published.next_name(serving.name)
        self.published.predictions_file(name).unlink(missing_ok=True)  # of a try that crashed
        self.keep(name, pool, ranking)
        record = {
            "model_version": name,
            "strategy": strategy,
            "asked": ranking.strategy,
            "budget": ranking.budget,
            "order": [int(task) for task in ranking.order],
            "scores": [float(score) for score in ranking.scores],
            "reasons": list(ranking.reasons),
            "map_before": learned.before.map if learned and learned.before else None,
            "map_after": learned.metrics.map if learned and learned.metrics else None,
            "variants": trained,
            **ranking.details,
        }
        if "why" in record:
            self.progress.say(record["why"])
        self.store.write(serving.name, "ranking.json", json.dumps(record).encode())
        publish(
            self.studio,
            self.project,
            self.store,
            self.published,
            Publication(name, serving.name, strategy, self.annotations),
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

    def inner_loop(self, cycle: _Cycle, tasks: dict[int, Task], pool: Pool, serving: Version) -> Plan:
        """Train the variants of a cycle, here and on idle workers; what fails is left out."""

        def fetch(wanted: list[int]) -> Iterator[tuple[int, bytes]]:
            for task in wanted:
                with suppress(ImageError):  # the scan has told of it
                    yield task, self.pictures.read(tasks[task], self.config.data_key)

        folder = cycle.folder
        untrained = detector_of(self.store.list()[0])
        plan = prepare(
            folder,
            cycle.dataset,
            pool,
            detector_of(serving),
            cycle.learned,
            untrained,
            fetch,
            self.cycle,
            self.progress,
        )
        self.progress.say(f"{len(plan.variants)} variants to train for the order")
        for stage, controls in (("controls", True), ("variants", False)):
            pending = plan.pending(controls=controls)
            fan_out(self.jobs, self.project, folder, pending, variants.run, plan.done, self.progress, stage)
        return plan

    @property
    def rows_file(self) -> Path:
        """Measured gains of this and earlier cycles."""
        return self.published.directory / "gain_rows.npz"

    def gain_rows(self) -> Rows:
        """What earlier cycles measured; nothing where there is none, or it cannot be read."""
        try:
            return Rows.load(self.rows_file)
        except FileNotFoundError:
            return Rows()
        except ValueError as error:
            self.progress.say(f"{error}")
            return Rows()

    def look(self, tasks: list[Task], labeled: set[int], version: Version) -> Pool:
        """Let a version's detector see the tasks that it has not seen; its boxes go into `seen`."""
        detector = detector_of(version)
        metrics = Metrics(**version.metrics) if version.metrics else None
        label_map = self.config.label_map(detector.names)
        if not label_map:
            self.progress.say(self.config.no_match(detector.names))
        threshold = self.config.threshold if self.config.threshold is not None else self.settings.model_score_threshold
        by_id = {task.id: task for task in tasks}
        shown_by = f"{threshold} {self.config.labels} {sorted(label_map.items())}"
        fingerprint = encoder_fingerprint(version.weights, detector) + shown_by
        store = PoolStore(self.published.directory / "pool")
        rows: list[tuple[int, str, float, list[dict]]] = []

        def keep(task: int, found: Detections) -> None:
            shown = regions(found, detector.names, self.config, label_map, threshold)
            rows.append((task, by_id[task].data[self.config.data_key], LABELED, shown))

        def flush() -> None:
            self.seen.put(rows)
            rows.clear()

        def stream(chosen: list[int]) -> Iterator[tuple[int, np.ndarray]]:
            tasks = [by_id[task] for task in chosen]
            for task, picture in self.pictures.stream(tasks, self.config.data_key, self.failed):
                yield task.id, picture

        images = [(task.id, task.data.get(self.config.data_key, "")) for task in tasks]
        return look(
            store, detector, fingerprint, images, stream, labeled, metrics, self.cycle, self.progress, keep, flush
        )

    @property
    def seen(self) -> Predictions:
        """What the detector of the pool store saw: every box that it would show."""
        return Predictions(self.published.directory / "pool" / "seen.sqlite")

    def keep(self, name: str, pool: Pool, ranking: Ranking) -> Predictions:
        """Put the boxes of a pool and of its labeled images, with their places, under a publication's name."""
        stored = self.published.predictions(name)
        labeled = np.zeros(0, np.int64) if pool.labeled_ids is None else pool.labeled_ids
        found = self.seen.get(int(task) for task in [*pool.ids, *labeled])
        stored.put((task, image, LABELED, result) for task, (image, _, result) in found.items())
        stored.rescore(scores(ranking))
        return stored


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

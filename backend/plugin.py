"""The Label Studio ML backend: predict and fit, for our own server and for label-studio-ml's.

`predict` answers from what the worker predicted before; a few unknown tasks are predicted at once. Many unknown tasks,
or very many at all, are handed to the worker, which imports them in bulk. `fit` only enqueues.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import redis
from label_studio_ml.model import LabelStudioMLBase

from backend import counters
from backend.at_once import BusyError, at_once
from backend.label_studio.client import Studio, StudioError, Task
from backend.label_studio.downloads import Limits
from backend.label_studio.images import Pictures
from backend.label_studio.labels import LabelConfig, LabelConfigError, regions
from backend.label_studio.prompts import places
from backend.project.boxes.outdated import other_config
from backend.project.boxes.thresholds import thresholds_of
from backend.project.published import MIDDLE, Publication, Published
from backend.project.serving import detector_of, published_of, store_of
from backend.queue.enqueue import Jobs, connect
from backend.settings import Settings, get_settings
from model.damage import DamagedError
from model.data.images import ImageError, Letterboxed
from model.detectors.base import WeightsError
from model.versions import VersionError

log = logging.getLogger(__name__)

T = TypeVar("T")
Answer = dict | list  # a prediction, or [] where there is none yet: Label Studio then stores nothing for that task
NOTHING: list = []
NOT_READY = "not ready: the first ranking is being made"
DIGITS = 18  # of an id; SQLite's go to 2^63
ANSWER_SECONDS = 0.5  # that Redis has: an annotator's submit waits for a webhook, a second at most
DETECT_SECONDS = 20.0  # beside PREDICT_SECONDS, which are for the images; Label Studio waits for 100 s
BULK = 200  # tasks; Label Studio stores answers one by one, 28 a second, but the worker's import in seconds


class MgralBackend(LabelStudioMLBase):
    """One instance a request; all state is on disk, in Redis or in the process's detector cache."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As label-studio-ml calls it: 1.0.9 with `label_config`, 2.x with `project_id` too, which may come first."""
        self.settings: Settings = get_settings()  # before the host's part, which asks `get` already
        self.asked_for = kwargs.get("project_id") or (args[0] if args else None)
        self.sent_config = kwargs.get("label_config")
        self.jobs = Jobs(self.settings, connect(self.settings, ANSWER_SECONDS))
        self.may_begin: Callable[[int], bool] = bool  # whether work is begun for a project that has nothing yet
        try:
            super().__init__(*args, **kwargs)
        except Exception:  # the host reads the config too, and less of it: what counts is whether we can
            if not self.sent_config:
                raise
            parsed(self.sent_config)

    def setup(self) -> None:
        """label-studio-ml 2.x calls this before each request. Raises LabelConfigError where nothing can be served."""
        if self.sent_config:
            parsed(self.sent_config)

    def predict(self, tasks: list[dict], context: dict | None = None, **kwargs: Any) -> list[Answer]:
        """One answer a task, in order. With a `context` (the user is drawing) boxes inside the drawn region.

        A task without an id is predicted and not remembered.
        """
        if not tasks:
            return []
        project = project_of(tasks, self.asked_for)
        config = self._config(project)
        published = published_of(self.settings, project)
        live = published.current()
        if live is None:
            self._hand_over("rank", project, len(tasks), "nothing is published yet")
            counters.predictions(unknown=len(tasks))
            return [NOTHING for _ in tasks]
        asked = [_task(task, place) for place, task in enumerate(tasks)]
        if isinstance(context, dict) and context.get("result"):
            drawn = partial(self._inside, project, config, live, asked[0], context["result"])
            return [
                self._in_time(project, 1, drawn) or {"result": [], "score": MIDDLE, "model_version": live.model_version}
            ]
        if len(asked) > BULK:
            self._hand_over("predict", project, len(asked), "asked for at once")
            counters.predictions(unknown=len(asked))
            return [NOTHING for _ in asked]
        key, changed = config.data_key, self._changed(project, config)
        if changed:
            self._hand_over("rank", project, len(asked), "asked for by a label config that asks for other boxes now")
        stored = _stored(project, published, live, asked)
        known = {
            task.id: stored[task.id] for task in asked if task.id in stored and stored[task.id][0] == task.data.get(key)
        }
        answers: dict[int, Answer] = {
            task: {"result": result, "score": score, "model_version": live.model_version}
            for task, (_, score, result) in ({} if changed else known).items()
        }
        looked_up = len(answers)
        missing = [task for task in asked if task.id not in answers]
        if len(missing) > self.settings.predict_live:
            if not changed:
                self._hand_over("predict", project, len(missing), f"not predicted by {live.version} yet")
        elif missing:
            places = {task: score for task, (_, score, _) in known.items()}
            predict = partial(self._at_once, project, config, live, missing, published, places)
            answers.update(self._in_time(project, len(missing), predict) or {})
        unknown = sum(task.id not in answers for task in asked)
        counters.predictions(known=looked_up, at_once=len(answers) - looked_up, unknown=unknown)
        return [answers.get(task.id, NOTHING) for task in asked]

    def fit(self, *args: Any, event: str | None = None, data: dict | None = None, **kwargs: Any) -> dict:
        """Enqueue a training of the project named in the event's data; returns {"job": id}.

        label-studio-ml 2.x gives event and data by position, and calls it for every annotation too: only
        START_TRAINING trains.
        """
        if args and isinstance(args[0], str):
            event, data = args[0], args[1] if len(args) > 1 else data
        if event != "START_TRAINING":
            return {"ignored": event}
        about = data.get("project") if isinstance(data, dict) else None
        project = number(about.get("id") if isinstance(about, dict) else self.asked_for)
        if project is None:
            raise LabelConfigError(f"{event} names no project: give it as data['project']['id']")
        job, new = self.jobs.enqueue("train", project)
        log.info(
            "project %d: training %s by %s: job %s", project, "queued" if new else "is queued already", event, job.id
        )
        return {"job": job.id}

    def process_event(self, event: str, data: dict, job_id: str, additional_params: dict) -> dict | None:
        """label-studio-ml 1.0.9 calls this for every event; its own version never lets START_TRAINING reach `fit`."""
        return self.fit(event=event, data=data) if event == "START_TRAINING" else None

    def get(self, key: str) -> Any:
        """label-studio-ml 2.x answers /setup from this: the version that predictions bear, or it stores them twice."""
        project = number(self.asked_for)
        if key == "model_version" and project is not None:
            return version_of(self.settings, project)
        above = getattr(super(), "get", None)
        return above(key) if above is not None else None

    def _config(self, project: int) -> LabelConfig:
        """Of the request; where it has none, the project's. Raises StudioError, and TimeoutError."""
        if self.sent_config:
            return parsed(self.sent_config)
        ask = partial(Studio.shared(self.settings).project, project)
        return LabelConfig.parse(at_once(self.settings.threads).run(DETECT_SECONDS, ask)["label_config"])

    def _changed(self, project: int, config: LabelConfig) -> bool:
        """Whether the config asks for other boxes than those that are live; false where that cannot be known."""
        try:
            return other_config(self.settings, project, config)
        except (VersionError, OSError, ValueError) as error:
            log.error("project %d: %s", project, error)
            return False

    def _in_time(self, project: int, count: int, predict: Callable[[], T]) -> T | None:
        """What `predict` returns; None where it takes too long or cannot be done, and a worker is asked to."""
        seconds = self.settings.predict_seconds + DETECT_SECONDS
        try:
            return at_once(self.settings.threads).run(seconds, predict)
        except BusyError:
            why = "came while as many others as there is room for were being predicted"
        except TimeoutError:
            why = f"were not predicted after {seconds:g} s"
        except (StudioError, WeightsError, VersionError, OSError, ValueError) as error:
            log.error("project %d: %s", project, error)
            why = "could not be predicted at once"
        self._hand_over("predict", project, count, why)
        return None

    def _at_once(
        self,
        project: int,
        config: LabelConfig,
        live: Publication,
        tasks: list[Task],
        published: Published,
        places: dict[int, float],
    ) -> dict[int, Answer]:
        """Predict a few tasks now, and remember them; `places`: the scores of those that have a place in the order."""
        version = store_of(self.settings, project).get(live.version)
        detector = detector_of(version)
        label_map = config.label_map(detector.names, trained=version.parent is not None)
        if not label_map:
            log.warning("project %d: %s", project, config.no_match(detector.names))
        pictures = self._pictures()
        images = [  # what the detector looks at: whole photographs would be 36 MB each
            (task, Letterboxed.of(picture, detector.image_size))
            for task, picture in pictures.stream(tasks, config.data_key)
        ]
        detections = detector.predict([square for _, square in images], batch=self.settings.batch)
        thresholds = thresholds_of(self.settings, version)
        rows = []
        for (task, _), boxes in zip(images, detections, strict=True):
            result = regions(boxes, detector.names, config, label_map, thresholds)
            rows.append((task.id, task.data[config.data_key], places.get(task.id, MIDDLE), result))
        try:
            published.predictions(live.model_version).put((row for row in rows if row[0] > 0), share=False)
        except (
            sqlite3.Error,
            OSError,
            DamagedError,
        ) as error:  # a full disk: it is predicted again when it is asked for
            log.warning("project %d: what was predicted at once is not remembered: %s", project, error)
        return {
            task: {"result": result, "score": score, "model_version": live.model_version}
            for task, _, score, result in rows
        }

    def _inside(self, project: int, config: LabelConfig, live: Publication, task: Task, drawing: Any) -> dict[str, Any]:
        """Boxes in the places that a user drew, of their label where they have one."""
        version = store_of(self.settings, project).get(live.version)
        detector = detector_of(version)
        pictures = self._pictures()
        try:
            (detections,) = detector.predict([pictures.decode(task, config.data_key)])
        except ImageError as error:
            log.warning("%s", error)
            return {"result": [], "score": MIDDLE, "model_version": live.model_version}
        label_map = config.label_map(detector.names, trained=version.parent is not None)
        drawn = places(drawing if isinstance(drawing, list) else [drawing], config, detections.size)
        shown = regions(detections, detector.names, config, label_map, thresholds_of(self.settings, version))
        chosen = [box for box in shown if any(place.asks_for(box["value"]) for place in drawn)]
        score = max((region["score"] for region in chosen), default=MIDDLE)
        return {"result": chosen, "score": score, "model_version": live.model_version}

    def _pictures(self) -> Pictures:
        s = self.settings
        limits = replace(Limits.of(s), until=time.monotonic() + s.predict_seconds)
        return Pictures(Studio.shared(s), s.cache_dir, s.cache_gb, limits)

    def _hand_over(self, kind: str, project: int, count: int, why: str) -> None:
        if kind == "rank" and not self.may_begin(project):
            return
        try:
            job, _ = self.jobs.enqueue(kind, project)
            log.info("project %d: %d tasks %s: handed to the worker as job %s", project, count, why, job.id)
        except redis.RedisError as error:
            log.error("project %d: %d tasks %s, and Redis is away (%s): start it", project, count, why, error)


def parsed(config: str) -> LabelConfig:
    """A label config that somebody sent. Raises LabelConfigError, whatever else the parsers of XML may raise."""
    try:
        return LabelConfig.parse(config)
    except LabelConfigError:
        raise
    except Exception as error:
        raise LabelConfigError("the label config cannot be parsed: write it as Label Studio's editor does") from error


def _stored(
    project: int, published: Published, live: Publication, tasks: list[Task]
) -> dict[int, tuple[str, float, list[dict]]]:
    """What was predicted of the tasks that have an id; nothing where the file is damaged, which is then made anew."""
    try:
        return published.predictions(live.model_version).get(task.id for task in tasks if task.id > 0)
    except (sqlite3.Error, DamagedError) as error:
        log.error("project %d: %s", project, error)
        return {}


def version_of(settings: Settings, project: int) -> str:
    """The model version that the project's predictions bear."""
    live = published_of(settings, project).current()
    return live.model_version if live else NOT_READY


def project_of(tasks: list[dict], asked_for: Any) -> int:
    """The project of a request: what its first task says, else its body ("<id>.<timestamp>").

    Raises LabelConfigError where neither names one.
    """
    first = tasks[0].get("project") if tasks and isinstance(tasks[0], dict) else None
    for named in (first, asked_for):
        if (known := number(named)) is not None:
            return known
    raise LabelConfigError(f"project {asked_for!r}: not of the form <id>.<timestamp>, and the task names none")


def number(value: Any) -> int | None:
    """The id in 21, "21" or "21.1795336536"."""
    digits = str(value or "").partition(".")[0]
    usable = digits.isascii() and digits.isdigit() and len(digits) <= DIGITS and int(digits) > 0
    return int(digits) if usable else None


def _task(task: Any, place: int) -> Task:
    """A task of a request; one without an id gets a number below zero, which stands for its place."""
    entries = task if isinstance(task, dict) else {}
    known, data = number(entries.get("id")), entries.get("data")
    return Task(known if known is not None else -1 - place, data if isinstance(data, dict) else {})

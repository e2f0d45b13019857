"""The Label Studio ML backend: predict and fit, for our own server and for label-studio-ml's.

`predict` answers from what the worker predicted before; a few unknown tasks are predicted at once. Many unknown tasks,
or very many at all, are handed to the worker, which imports them in bulk. `fit` only enqueues.
"""

from __future__ import annotations

import logging
from typing import Any

import redis
from label_studio_ml.model import LabelStudioMLBase

from backend.label_studio.client import Studio, StudioError, Task
from backend.label_studio.images import Pictures
from backend.label_studio.labels import LabelConfig, regions
from backend.project.published import MIDDLE, Publication, Published
from backend.project.serving import detector_of, store_of
from backend.queue.enqueue import Jobs
from backend.settings import Settings, get_settings
from model.data.images import ImageError

log = logging.getLogger(__name__)

Answer = dict | list  # a prediction, or [] where there is none yet: Label Studio then stores nothing for that task
NOTHING: list = []
BULK = 200  # tasks; Label Studio stores answers one by one, 28 a second, but the worker's import in seconds


class MgralBackend(LabelStudioMLBase):
    """One instance a request; all state is on disk, in Redis or in the process's detector cache."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.settings: Settings = get_settings()

    def predict(self, tasks: list[dict], context: dict | None = None, **kwargs: Any) -> list[Answer]:
        """One answer a task, in order. With a `context` (the user is drawing) boxes inside the drawn region."""
        if not tasks:
            return []
        project = _project_of(tasks)
        config = LabelConfig.parse(str(self.label_config))
        published = Published(self.settings.model_dir / str(project))
        live = published.current()
        if live is None:
            self._hand_over("rank", project, len(tasks), "nothing is published yet")
            return [NOTHING for _ in tasks]
        asked = [Task(task["id"], task["data"]) for task in tasks]
        if context and context.get("result"):
            return [self._inside(project, config, live, asked[0], context["result"])]
        if len(asked) > BULK:
            self._hand_over("predict", project, len(asked), "asked for at once")
            return [NOTHING for _ in asked]
        stored = published.predictions(live.model_version).get(task.id for task in asked)
        answers: dict[int, Answer] = {
            task.id: {"result": stored[task.id][2], "score": stored[task.id][1], "model_version": live.model_version}
            for task in asked
            if task.id in stored and stored[task.id][0] == task.data.get(config.data_key)
        }
        missing = [task for task in asked if task.id not in answers]
        if len(missing) > self.settings.predict_live:
            self._hand_over("predict", project, len(missing), f"not predicted by {live.version} yet")
        elif missing:
            answers.update(self._at_once(project, config, live, missing, published))
        return [answers.get(task.id, NOTHING) for task in asked]

    def fit(self, *args: Any, event: str | None = None, data: dict | None = None, **kwargs: Any) -> dict:
        """Enqueue a training of the project named in the event's data; returns {"job": id}."""
        project = int((data or {})["project"]["id"])
        job, new = Jobs(self.settings).enqueue("train", project)
        log.info(
            "project %d: training %s by %s: job %s", project, "queued" if new else "is queued already", event, job.id
        )
        return {"job": job.id}

    def process_event(self, event: str, data: dict, job_id: str, additional_params: dict) -> dict | None:
        """label-studio-ml 1.0.9 calls this for every event; its own version never lets START_TRAINING reach `fit`."""
        return self.fit(event=event, data=data) if event == "START_TRAINING" else None

    def _at_once(
        self, project: int, config: LabelConfig, live: Publication, tasks: list[Task], published: Published
    ) -> dict[int, Answer]:
        """Predict a few tasks now, and remember them."""
        version = store_of(self.settings, project).get(live.version)
        detector = detector_of(version)
        label_map = config.label_map(detector.names)
        if not label_map:
            log.warning("project %d: %s", project, config.no_match(detector.names))
        pictures = Pictures(Studio.from_settings(self.settings), self.settings.cache_dir, self.settings.cache_gb)
        images = list(pictures.stream(tasks, config.data_key))
        detections = detector.predict([picture for _, picture in images], batch=self.settings.batch)
        threshold = config.shown_from(self.settings.model_score_threshold)
        rows = []
        for (task, _), boxes in zip(images, detections, strict=True):
            result = regions(boxes, detector.names, config, label_map, threshold)
            rows.append((task.id, task.data[config.data_key], MIDDLE, result))
        published.predictions(live.model_version).put(rows)
        return {
            task: {"result": result, "score": score, "model_version": live.model_version}
            for task, _, score, result in rows
        }

    def _inside(
        self, project: int, config: LabelConfig, live: Publication, task: Task, drawing: list[dict]
    ) -> dict[str, Any]:
        """Boxes whose centre lies in a region that the user drew, of its label where it has one."""
        detector = detector_of(store_of(self.settings, project).get(live.version))
        pictures = Pictures(Studio.from_settings(self.settings), self.settings.cache_dir, self.settings.cache_gb)
        try:
            (detections,) = detector.predict([pictures.decode(task, config.data_key)])
        except ImageError as error:
            log.warning("%s", error)
            return {"result": [], "score": MIDDLE, "model_version": live.model_version}
        threshold = config.shown_from(self.settings.model_score_threshold)
        boxes = regions(detections, detector.names, config, config.label_map(detector.names), threshold)
        places = [region.get("value", {}) for region in drawing]
        chosen = [box for box in boxes if any(_within(box["value"], place) for place in places)]
        score = max((region["score"] for region in chosen), default=MIDDLE)
        return {"result": chosen, "score": score, "model_version": live.model_version}

    def _hand_over(self, kind: str, project: int, count: int, why: str) -> None:
        try:
            job, _ = Jobs(self.settings).enqueue(kind, project)
            log.info("project %d: %d tasks %s: handed to the worker as job %s", project, count, why, job.id)
        except redis.RedisError as error:
            log.error("project %d: %d tasks %s, and Redis is away (%s): start it", project, count, why, error)


def _project_of(tasks: list[dict]) -> int:
    project = tasks[0].get("project")
    if not isinstance(project, int):
        raise StudioError(f"task {tasks[0].get('id')} names no project (it has {project!r})")
    return project


def _within(box: dict, place: dict) -> bool:
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    label = place.get("rectanglelabels")
    return (
        place.get("x", 0) <= x <= place.get("x", 0) + place.get("width", 100)
        and place.get("y", 0) <= y <= place.get("y", 0) + place.get("height", 100)
        and (not label or box["rectanglelabels"][0] in label)
    )

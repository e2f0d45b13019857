"""The job "train": learn from the annotations; the tasks are ordered by the jobs that follow."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agent.learning import Learned, claim, key_of, learn
from agent.strategies.mgral import Mgral
from backend.jobs.running import JobError, runs
from backend.label_studio.client import Task
from backend.label_studio.lead_times import efforts
from backend.project.connect import unused_weights
from backend.project.cycle import FOLDERS, LABELED, labeled_of
from backend.project.left_out import FILE as LEFT_OUT
from backend.project.review import cycles, reviews
from backend.project.serving import detector_of, first_version
from backend.project.work import ProjectWork, counting_of
from model import disk
from model.atomic import remove, write_file
from model.damage import DamagedError
from model.data.dataset import Dataset
from model.thresholds import Costs
from model.version import Version

log = logging.getLogger(__name__)

COPIES = 28
"""Times the weights: a checkpoint is six of them and is written beside the last one, hindsight has its own, and four
more files of weights are kept."""
FEWEST_USABLE = 0.5  # of the annotated images: a model of less would not be the project's


@runs("train")
def train(work: ProjectWork) -> dict:
    """Learn from the annotations, then have the tasks surveyed.

    The folder of the cycle is named after what is learned from, how, and what is live. So what was finished before a
    crash, a failure or a loss of Redis is not done again, on whichever machine it goes on.
    """
    work.jobs.note_begin(work.project, "train")
    work.jobs.note_attempt(work.project, work.annotations)
    fetched = work.files.local / work.folder(labeled_of(work.head)).path
    try:
        return _train(work, fetched)
    finally:
        remove(fetched)  # the images are in the cycle's folder now, or in the cache


def _train(work: ProjectWork, fetched: Path) -> dict:
    labeled = work.labeled_tasks()
    dataset, left_out = work.dataset(labeled, fetched)
    remark = left_out.remark
    if remark:
        work.progress.say(remark)
    if not dataset.boxes:
        raise JobError(
            f"project {work.project} has no boxes to learn from ({len(labeled)} annotated tasks): draw some with "
            f"the labels {', '.join(work.config.labels)}, then start training again" + (remark and f"; {remark}")
        )
    if len(dataset) < FEWEST_USABLE * len(labeled):
        raise JobError(
            f"project {work.project}: nothing is trained, for fewer than {FEWEST_USABLE:.0%} of the annotated images "
            f"can be used: {remark}; mend them in Label Studio, then start training again"
        )
    serving = first_version(work.store, work.settings, work.config, work.published)
    if line := disk.check(work.files.local, room(serving, dataset), "a training"):
        work.progress.say(line)
    for line in [*work.config.remarks, *unused_weights(work.store, work.config)]:
        work.progress.say(line)
    fit = work.config_of_cycle.fit
    live = work.published.current()
    key = f"{key_of(dataset, fit)} {serving.name} {live.model_version if live else ''}"
    cycle = work.folder(f"train-{hashlib.sha256(key.encode()).hexdigest()[:16]}")
    work.job.meta[FOLDERS] = [cycle.name, cycle.start.name]
    folder = cycle.pull()
    dataset = _moved(dataset, folder / "images")
    claim(folder, dataset, fit)
    write_file(folder / LABELED, json.dumps(dataset.to_coco()).encode())
    train, holdout = dataset.holdout()
    held_out = len(holdout) if train.boxes and holdout.boxes else 0
    if work.config_of_cycle.strategy == Mgral.name and not work.config_of_cycle.plan.why_not(held_out):
        cycle.push()
        work.add("hindsight", cycle.name, serving.name)
    try:
        costs = Costs(work.settings.seconds_to_delete, work.settings.seconds_to_draw)
        watch = work.progress
        learned = learn(
            folder, work.store, serving, detector_of(serving), dataset, fit, watch, remark=remark, costs=costs
        )
        work.store.write(learned.version.name, LEFT_OUT, json.dumps(left_out.to_json()).encode())
        _keep_for_pages(work, learned, labeled, dataset)
    finally:  # a checkpoint too, for whoever goes on
        cycle.push()
    work.progress.say(f"{learned.version.name}: {learned.reason}")
    if learned.metrics:
        work.progress.say(str(learned.metrics))
    work.add("survey", cycle.name, serving.name)
    return {"version": learned.version.name, "promoted": learned.promote, "reason": learned.reason, "left_out": remark}


def _keep_for_pages(work: ProjectWork, learned: Learned, labeled: Sequence[Task], dataset: Dataset) -> None:
    """What became of the boxes that annotators were shown, and what the training gave; a damaged file costs no more
    than these."""
    annotated = [(task, counting_of(task)[0][0]) for task in labeled]
    try:
        found = reviews.reviewed(annotated, work.published, work.config, reviews.read(work.store))
        work.store.write(learned.version.name, reviews.FILE, found.to_json())
    except (DamagedError, sqlite3.Error) as error:
        work.progress.say(f"what annotators corrected is not known this time: {error}")
    seconds = [effort.seconds for effort in efforts(labeled, work.config)]
    batch = cycles.batch_of(work.store, work.published.current(), [image.id for image in dataset.images])
    minutes = sum(seconds) / 60 if seconds else None
    cycles.keep(work.files, work.project, cycles.Trained.of(learned, dataset.boxes, minutes, batch))


def room(serving: Version, dataset: Dataset) -> float:
    """Bytes that a training and what it hands on take on the disk, about: COPIES of the weights and the images.

    The images are linked where they lie already, but a plan takes about as many again from the pool.
    """
    return COPIES * serving.weights.stat().st_size + sum(image.path.stat().st_size for image in dataset.images)


def _moved(dataset: Dataset, folder: Path) -> Dataset:
    """The data set with its files in the cycle's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for image in dataset.images:
        place = folder / image.path.name
        if not place.is_file() or place.stat().st_size != image.path.stat().st_size:
            remove(place)
            try:
                os.link(image.path, place)
            except OSError:  # another file system
                shutil.copyfile(image.path, place)
    return Dataset(tuple(replace(image, path=folder / image.path.name) for image in dataset.images), dataset.names)

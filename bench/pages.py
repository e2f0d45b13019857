"""How long do the pages take? For a project of 10,000 tasks and 50 versions, while Label Studio does not answer.

    python -m bench.pages                                 # half a minute

Builds the files of such a project, its jobs in a private Redis, and an address of Label Studio's that takes connections
and answers none. Then each page, and each answer of the API, is asked for with Flask's test client: once to begin with,
and REPEATS times for the median. Neither a model nor an image is loaded; that is checked. The last line is JSON:
seconds by address: the first time, the median, and the median CPU seconds, which depend least on what else is running.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flask import Flask
from rich.console import Console
from rich.table import Table
from rq.job import Job, JobStatus

from agent.holdout import FILE as HOLDOUT
from agent.holdout import NOWHERE, Holdout
from backend.commands.local import LocalStack
from backend.project import audit
from backend.project.published import Publication
from backend.project.serving import published_of, store_of
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from backend.web.app import create_app
from model.data.dataset import Dataset, LabeledImage
from model.data.detections import Detections
from model.evaluate import Metrics

PROJECT = 1
TASKS, VERSIONS, CLASSES, HELD_OUT, REPEATS = 10_000, 50, 20, 1_000, 9
LIMIT = 0.2  # seconds that a page may take


@dataclass
class Saved:
    """In the place of a detector: a version needs its names, and something to save."""

    names: tuple[str, ...]

    def save(self, path: Path) -> None:
        """A few bytes."""
        path.write_bytes(b"weights")


def holdout(images: int, classes: int, seed: int = 0) -> Holdout:
    """Boxes that two versions found about where they are, the first one closer, among some where none are."""
    draw = np.random.default_rng(seed)
    names = tuple(f"class {k}" for k in range(classes))
    held: list[LabeledImage] = []
    found: list[Detections] = []
    before: list[Detections] = []
    for number in range(1, images + 1):
        corner = draw.uniform(0, 500, (6, 2))
        truth = np.concatenate([corner, corner + draw.uniform(30, 100, (6, 2))], 1).astype(np.float32)
        ids = draw.integers(0, classes, 6)
        held.append(LabeledImage(number, NOWHERE, (640, 640), truth, ids))
        for boxes, noise in ((found, 5.0), (before, 9.0)):
            xyxy = np.concatenate([truth + draw.normal(0, noise, truth.shape), truth[:, [1, 0, 3, 2]]])
            scores = draw.uniform(0.2, 1, len(xyxy)).astype(np.float32)
            classes_of = np.concatenate([ids, draw.integers(0, classes, 6)])
            empty = np.zeros((len(xyxy), 0), np.float32)
            boxes.append(Detections(xyxy.astype(np.float32), scores, classes_of, empty, (640, 640)))
    return Holdout(Dataset(tuple(held), names), found, before)


def build(settings: Settings, project: int, versions: int, tasks: int, held: Holdout) -> list[str]:
    """The files of a project as so many trainings leave them; returns the names of the versions, oldest first."""
    store, published = store_of(settings, project), published_of(settings, project)
    names = held.dataset.names
    made = [store.add_first(Saved(names), {}, "starts from starter").name]  # type: ignore[arg-type]
    draw = np.random.default_rng(project)
    kept = held.to_bytes()
    for number in range(1, versions):
        value = 0.3 + 0.4 * number / versions
        ap = {name: float(np.clip(value + draw.normal(0, 0.05), 0, 1)) for name in names}
        spans = {name: (max(0.0, one - 0.04), min(1.0, one + 0.04)) for name, one in ap.items()}
        metrics = Metrics(
            value,
            value + 0.2,
            value,
            ap,
            len(held.dataset),
            held.dataset.boxes,
            0.02,
            (value - 0.04, value + 0.04),
            spans,
        )
        version = store.add(
            Saved(names),  # type: ignore[arg-type]
            metrics=metrics.to_dict(),
            label_map={name: name for name in names},
            fingerprint=f"{number:064x}",
            parent=made[-1],
            images=100 * number,
            note=f"promoted, better: mAP {value:.3f} on the holdout",
        )
        store.write(version.name, HOLDOUT, kept)
        store.write(version.name, "trained_on.json", json.dumps(list(range(80 * number))).encode())
        left_out = {"labeled": 100 * number, "tasks": {"labels that the config does not have": [7, 9]}}
        store.write(version.name, "left_out.json", json.dumps(left_out | {"several": 0, "rule": "newest"}).encode())
        store.promote(version.name)
        made.append(version.name)
    order = list(range(1, tasks + 1))
    for name in made[-2:]:
        live = f"{name}-r001"
        record = {
            "model_version": live,
            "strategy": "mgral",
            "order": order,
            "scores": [1 - place / tasks for place in range(tasks)],
            "reasons": [
                f"task {task} is expected to raise mAP by {1 / task:.4f}: many boxes, unlike others" for task in order
            ],
        }
        store.write(name, "ranking.json", json.dumps(record).encode())
        published.predictions(live).put((task, f"/data/{task}.jpg", task / (tasks + 1), []) for task in order)
        published.publish(Publication(live, name, "mgral", 100 * versions))
    return made


def enqueue(settings: Settings, project: int, cycles: int, variants: int) -> str:
    """Trainings that failed after a log, and one that runs; returns the id of one that failed."""
    jobs = Jobs(settings)
    failed = ""
    for number in range(cycles + 1):
        head, _ = jobs.enqueue("train", project)
        parts = [jobs.add(head.id, "variant", project, name=f"variant-{k}", index=k) for k in range(variants)]
        for job in (head, *parts):
            job.meta |= {"log": [[time.time(), f"line {k} of what it did"] for k in range(30)], "share": 0.4}
            job.meta |= {"stage": "train", "done": 4, "total": 10, "stages": {"fetch": 3.0, "train": 40.0}}
            job.save_meta()
        if number < cycles:
            failed = _fail(jobs, head, parts)
    return failed


def _fail(jobs: Jobs, head: Job, parts: list[Job]) -> str:
    head.meta["error"] = "project 1 has no boxes to learn from: draw some, then start training again"
    head.save_meta()
    for job in (head, *parts):
        jobs.queue_of((job.func_name or "").rpartition(".")[2]).remove(job)
        job.set_status(JobStatus.FAILED)
    return head.id


def addresses(app: Flask, version: str, parent: str, job: str) -> Iterator[str]:
    """Every page and every answer of the API that can be asked for by project, version and job."""
    known = {"project": str(PROJECT), "version": version, "job": job}
    read = (str(rule) for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ()))
    for rule in sorted(read):
        if not rule.startswith(("/ui", "/api/")) or "<path:" in rule or "<any(" in rule:
            continue
        names = re.findall(r"<(?:\w+:)?(\w+)>", rule)
        if all(name in known for name in names):
            address = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: known[found[1]], rule)
            yield f"{address}?ours={version}&theirs={parent}" if address.endswith("/compare") else address


def measure(app: Flask, address: str, repeats: int) -> tuple[float, float, float]:
    """(seconds of the first answer, median of the next, median of their CPU seconds)."""
    client, took, worked = app.test_client(), [], []
    for _ in range(repeats + 1):
        start, began = time.perf_counter(), time.process_time()
        answer = client.get(address)
        took.append(time.perf_counter() - start)
        worked.append(time.process_time() - began)
        if answer.status_code != 200:
            raise RuntimeError(f"{address} answered {answer.status_code}: {answer.get_data(as_text=True)[-300:]}")
    return took[0], statistics.median(took[1:]), statistics.median(worked[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mgral-pages-"))
    with socket.create_server(("127.0.0.1", 0)) as silent, LocalStack(folder) as stack:
        stack.start_redis()
        settings = replace_url(stack.settings(), f"http://127.0.0.1:{silent.getsockname()[1]}")
        made = build(settings, PROJECT, VERSIONS, TASKS, holdout(HELD_OUT, CLASSES))
        failed = enqueue(settings, PROJECT, cycles=20, variants=16)
        for number in range(100):
            audit.record(settings, PROJECT, "promote", audit.Person("admin", "page"), version=made[number % VERSIONS])
        app = create_app(settings)
        before = set(sys.modules)
        asked = addresses(app, made[-1], made[-2], failed)
        times = {address: measure(app, address, arguments.repeats) for address in asked}
        loaded = {"torch", "ultralytics", "PIL.Image"} & (set(sys.modules) - before)
    shutil.rmtree(folder, ignore_errors=True)
    table = Table("address", "first, ms", "median, ms", "CPU, ms", box=None)
    for address, seconds in times.items():
        table.add_row(address.replace(made[-1], "VERSION"), *(f"{1000 * one:.0f}" for one in seconds))
    Console().print(table)
    slow = sorted(address for address, (_, median, _) in times.items() if median > LIMIT)
    names = ("first", "median", "cpu")
    result = {
        address: {name: round(one, 4) for name, one in zip(names, seconds, strict=True)}
        for address, seconds in times.items()
    }
    print(json.dumps({"seconds": result, "over the limit": slow, "loaded": sorted(loaded)}))


def replace_url(settings: Settings, url: str) -> Settings:
    """The settings with another Label Studio."""
    return settings.model_copy(update={"label_studio_url": url})


if __name__ == "__main__":
    main()

"""What the jobs of one cycle hand on to each other: files that are written once, in a folder of the cycle's own.

MODEL_DIR/<project>/cycle.json    the cycle that was begun and has not ended (`backend.queue.enqueue`)
MODEL_DIR/<project>/cycles/<name>/
    labeled.json, images/   what is learned from, COCO
    ../labeled-<head>/      where the images are fetched to, until they are in images/
    ../<name>-start/start.pt   where hindsight starts (`agent.inner_loop.hindsight`)
    learned.json            what the training gave (`agent.learning`)
    plan.json, results/ ... the variants (`agent.inner_loop.plan`)
    <head>/survey.json      which tasks there are, and which version is to serve
    <head>/shards/<k>.json, <k>.failed.json   tasks whose images nobody had looked at; which of them could not be read
    <head>/order.json     the order that is to be published

A cycle that begins anew, because Redis forgot it, has the same folder and another head.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent.costs import LearnedCosts
from backend.label_studio.client import Task
from model.artefacts import Artefacts
from model.atomic import write_file
from model.damage import SIGNS, reading
from model.data.dataset import Dataset

LABELED = "labeled.json"
FOLDERS = "folders"  # of a training's meta: the names of those that are its cycle's
ANEW = "`mgral rank {0}`, or `mgral train {0}`, makes it anew"


def labeled_of(head: str) -> str:
    """The folder into which a training fetches its images."""
    return f"labeled-{head}"


def ranking_of(head: str) -> str:
    """The folder of a cycle that begins with a survey."""
    return f"rank-{head}"


@dataclass(frozen=True)
class Survey:
    """What a cycle is about, decided once at its beginning.

    Attributes:
        version: the model version that is to serve when the cycle ends.
        served: the version that served when the cycle began.
        trained: whether `version` was trained by this cycle, from `labeled.json`.
        annotations: how many the project had.
        labeled: tasks with an annotation that counts.
        tasks: (id, image) of every task.
        shards: how many there are of images that nobody had looked at.
        seen: stands for the detector and for all that decides what it shows (`Seen.folder`); "" of an earlier release.
        costs: what an annotation costs; None of an earlier release.
    """

    version: str
    served: str
    trained: bool
    annotations: int
    labeled: list[int]
    tasks: list[tuple[int, str]]
    shards: int
    seen: str = ""
    costs: LearnedCosts | None = None

    def as_tasks(self, data_key: str) -> list[Task]:
        """The tasks as Label Studio's, but for what else they hold."""
        return [Task(task, {data_key: image}) for task, image in self.tasks]


@dataclass(frozen=True)
class CycleFolder:
    """The folder of one cycle of a project.

    Attributes:
        head: id of the cycle's first job.
    """

    files: Artefacts
    project: int
    name: str
    head: str

    @property
    def path(self) -> str:
        """Its name among the artefacts."""
        return f"{self.project}/cycles/{self.name}"

    @property
    def local(self) -> Path:
        """Where it is worked on."""
        return self.files.local / self.path

    def pull(self, only: str | None = None) -> Path:
        """Bring what others wrote here; returns where it lies."""
        local = self.files.pull(self.path, only=only)
        local.mkdir(parents=True, exist_ok=True)
        return local

    def dataset(self) -> Dataset:
        """What the cycle learns from. Raises FileNotFoundError before the training has written it."""
        local = self.pull(only=LABELED)
        self.pull(only="images/*")
        return Dataset.from_coco(local / LABELED, local / "images")

    @property
    def start(self) -> CycleFolder:
        """The folder of where hindsight starts; apart, because it is written while the training writes into this."""
        return replace(self, name=f"{self.name}-start")

    def push(self, below: str = "") -> None:
        """Let others see what was written here, or one file or folder of it."""
        self.files.push(f"{self.path}/{below}".rstrip("/"))

    def write(self, name: str, content: Any) -> None:
        """Write JSON, for others too."""
        file = self.local / self.head / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, json.dumps(content).encode())
        self.push(f"{self.head}/{name}")

    def read(self, name: str) -> Any:
        """What `write` wrote. Raises FileNotFoundError and DamagedError."""
        file = self.files.pull(f"{self.path}/{self.head}/{name}")
        with reading(file, ANEW.format(self.project)):
            return json.loads(file.read_bytes())

    def write_survey(self, survey: Survey) -> None:
        """Keep it for the cycle's other jobs."""
        self.write("survey.json", asdict(survey))

    def survey(self) -> Survey:
        """What `write_survey` kept. Raises FileNotFoundError and DamagedError."""
        with reading(self.local / self.head / "survey.json", ANEW.format(self.project)):
            body = self.read("survey.json")
            tasks = [(int(task), str(image)) for task, image in body["tasks"]]
            costs = LearnedCosts.of_json(body["costs"]) if body.get("costs") else None
            return Survey(**body | {"tasks": tasks, "labeled": list(map(int, body["labeled"])), "costs": costs})

    def order(self) -> dict[str, Any]:
        """The order that is to be published, as "rank" wrote it. Raises FileNotFoundError and DamagedError."""
        with reading(self.local / self.head / "order.json", ANEW.format(self.project)):
            record = dict(self.read("order.json"))
            if not all(isinstance(record[key], str) for key in ("model_version", "strategy")):
                raise TypeError("a wrong value")
            return record | {"order": list(record["order"])}

    def shard(self, number: int) -> list[tuple[int, str]]:
        """(id, image) of the tasks of a shard. Raises FileNotFoundError and DamagedError."""
        with reading(self.local / self.head / f"shards/{number}.json", ANEW.format(self.project)):
            return [(int(task), str(image)) for task, image in self.read(f"shards/{number}.json")]

    def failures(self) -> list[str]:
        """A line for each task whose image could not be looked at."""
        names = [name for name in self.files.names(f"{self.path}/{self.head}/shards") if name.endswith(".failed.json")]
        lines = []
        for name in names:
            try:
                lines += list(map(str, self.read(f"shards/{name}") or ()))
            except (FileNotFoundError, *SIGNS) as error:
                lines.append(str(error))
        return lines

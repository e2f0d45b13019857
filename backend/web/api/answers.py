"""What the API answers about projects, jobs and versions; pages show the same values."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from backend.queue.graph import ACTIVE


class Work(BaseModel):
    """A job; of a training or a ranking the whole cycle."""

    job: str = Field(description="its id")
    kind: str | None = Field(description="train, rank, predict; within a cycle the name of its part")
    project: int | None
    index: int | None = Field(description="tells jobs of one part apart")
    status: str = Field(description="queued, deferred, scheduled, started, finished, failed, stopped, canceled or gone")
    stage: str = Field(description="what is being done")
    done: int = Field(description="units of the stage that are finished")
    total: int = Field(description="units of the stage")
    share: float = Field(description="of the whole job that is done, 0 to 1")
    seconds_left: int | None = Field(description="an estimate; null where there is none")
    figures: dict[str, float] = Field(description="what the stage measures, as losses")
    stages: dict[str, float] = Field(description="seconds that each stage took")
    log: list[str] = Field(description="lines for people, oldest first")
    error: str | None = Field(description="why it failed, and what to do")
    worker: str | None
    asked: str | None = Field(description="ISO 8601, UTC; when it was asked for")
    ended: str | None = Field(description="ISO 8601, UTC; null while it waits or runs")
    result: dict[str, Any] = Field({}, description="what it gave")
    after: str | None = Field(None, description="of a cycle that has ended: what still goes on, and nobody waits for")

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.status in ACTIVE

    @property
    def bad(self) -> bool:
        """Whether it ended without what it was for."""
        return not self.active and self.status != "finished"


class Interval(BaseModel):
    """Of 95 %."""

    low: float
    high: float


class ClassScore(BaseModel):
    """AP of one class (IoU .50:.95) on the holdout."""

    name: str
    ap: float | None = Field(description="null where the holdout has no box of the class")
    interval: Interval | None = Field(
        description="from resampling the holdout's images; null where too few show the class"
    )


class Scores(BaseModel):
    """What a version reached on its holdout, the fifth of the labeled images that nobody trains on."""

    map: float = Field(description="mean AP, IoU .50:.95")
    map50: float | None
    map75: float | None
    interval: Interval | None = Field(
        description="of map, from resampling the holdout's images; null where too few are"
    )
    classes: list[ClassScore]
    images: int = Field(description="of the holdout")
    boxes: int = Field(description="of the holdout")
    enough: bool = Field(description="whether these are enough for intervals")


class ServingVersion(BaseModel):
    """The model version that serves."""

    name: str
    number: int
    created: str = Field(description="ISO 8601, UTC")
    images: int = Field(description="labeled images that it learned from and was measured on")
    trained: bool = Field(description="whether it learned from the project's annotations")
    map: float | None = Field(description="null where nothing was held out")
    interval: Interval | None = Field(description="null where it is not known, or too few images are held out")
    held_out: int | None = Field(None, description="images that it was measured on; null where that is not kept")


class Project(BaseModel):
    """One project as the overview shows it."""

    project: int
    title: str | None = Field(description="null where Label Studio never told it")
    url: str = Field(description="the project in Label Studio")
    tasks: int | None
    labeled: int | None = Field(description="tasks with an annotation that is no skip")
    unlabeled: int | None
    counted: str | None = Field(description="ISO 8601, UTC; when Label Studio told title and counts")
    serving: ServingVersion | None
    strategy: str | None = Field(description="what ordered the tasks that are live")
    shown: str | None = Field(description="the model version that Label Studio is to show")
    work: Work | None = Field(description="the cycle that waits or runs")
    late: Work | None = Field(description="predictions of late tasks that wait or run")
    following: Work | None = Field(description="the cycle that is to follow")
    last: Work | None = Field(description="the newest cycle that has ended")
    problem: str | None = Field(description="what of the project cannot be read now")


class Overview(BaseModel):
    """All connected projects."""

    projects: list[Project]
    workers: int | None = Field(description="processes of `mgral work` that Redis knows; null while Redis is away")
    waiting: int | None = Field(description="jobs that wait; null while Redis is away")


class ListedVersion(BaseModel):
    """A version, as earlier releases listed it with its project."""

    name: str
    metrics: dict[str, Any] | None
    note: str


class ProjectDetails(Project):
    """One project, with what earlier releases told of it."""

    live: dict[str, Any] | None = Field(description="the published state that annotators see")
    versions: list[ListedVersion]
    jobs: list[Work] = Field(description="the newest job of each kind")
    variants: list[Work] = Field(description="of the newest training")


class Asked(BaseModel):
    """A job that was asked for."""

    job: str
    new: bool = Field(description="false where the same work was asked for already")


class Cancelled(BaseModel):
    """Jobs that were ended."""

    cancelled: list[str]


class Done(BaseModel):
    """A change that was made."""

    said: str = Field(description="one line that says what happens now")

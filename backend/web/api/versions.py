"""Model versions: what each learned from and reached, and which one serves."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Any

from flask import Response
from pydantic import BaseModel, Field

from backend.project.left_out import FILE as LEFT_OUT
from backend.project.left_out import LeftOut
from backend.project.review.verdicts import Verdict, verdicts
from backend.project.serving import published_of, store_of
from backend.web.api import changes
from backend.web.api.answers import Done, Scores
from backend.web.api.base import ProjectPath, answer_of, check, topic
from backend.web.api.figures import scores
from backend.web.faults import Fault
from backend.web.service import service
from model.damage import SIGNS
from model.version import Version
from model.versions import NAME, VersionError, VersionStore

log = logging.getLogger(__name__)

LEARNED_FROM = "trained_on.json"

routes = topic("versions", "Model versions: what each learned from and reached, and which one serves")


class VersionPath(ProjectPath):
    """Which version."""

    version: str = Field(description="its name, as v0003-20261122-143100")


class CrossFitted(BaseModel):
    """A version beside its parent, judged on all labeled images by detectors that never saw them."""

    verdict: str = Field(description="better, worse, undecided")
    sentence: str = Field(description="the same for people, with the figures")


class ModelVersion(BaseModel):
    """One model version."""

    name: str
    number: int = Field(description="1, 2, ... in the order of creation")
    created: str = Field(description="ISO 8601, UTC")
    serving: bool
    parent: str | None = Field(description="the version that it was fine-tuned from; null for the starting weights")
    images: int = Field(description="labeled images that it learned from and was measured on")
    note: str = Field(description="why it serves or does not")
    scores: Scores | None = Field(description="null where nothing was held out")
    cross_fitted: CrossFitted | None = Field(None, description="null where the holdout tells, or it is not done")
    shown: str | None = Field(description="the newest name under which Label Studio was given its boxes and order")


class Versions(BaseModel):
    """All versions of a project that are kept."""

    versions: list[ModelVersion] = Field(description="the newest first")
    previous: str | None = Field(description="the version that a roll back lets serve")


class LeftOutTasks(BaseModel):
    """Annotated tasks that were not learned from."""

    reason: str
    tasks: list[int]


class VersionDetails(ModelVersion):
    """One version with what it learned from."""

    learned: int | None = Field(description="images that it was trained on; null where that is not kept")
    held_out: int | None = Field(description="images that it was measured on")
    left_out: list[LeftOutTasks]
    classes: list[str] = Field(description="that the detector knows")
    labels: dict[str, str] = Field(description="class of the detector -> label of the project")
    fingerprint: str = Field(description="stands for the labels that it learned from")


class Choice(BaseModel):
    """Which version is to serve."""

    version: str = Field(description="its name")


@routes.get("/projects/<int:project>/versions", responses={200: Versions})
def index(path: ProjectPath) -> Response:
    """All versions that are kept, the newest first."""
    check(path.project)
    return answer_of(versions_of(path.project))


@routes.get("/projects/<int:project>/versions/<version>", responses={200: VersionDetails})
def show(path: VersionPath) -> Response:
    """One version: its figures by class, and what it learned from."""
    check(path.project)
    return answer_of(version_of(path.project, path.version))


@routes.post("/projects/<int:project>/promote", responses={200: Done})
def promote(path: ProjectPath, body: Choice) -> Response:
    """Let a version serve, and let Label Studio show its boxes and order."""
    check(path.project)
    return answer_of(changes.choose(path.project, known(path.project, body.version).name, "api"))


@routes.post("/projects/<int:project>/roll_back", responses={200: Done})
def roll_back(path: ProjectPath) -> Response:
    """Let the version serve that served before, and let Label Studio show its boxes and order."""
    check(path.project)
    return answer_of(changes.choose(path.project, None, "api"))


def versions_of(project: int) -> Versions:
    """All versions, the newest first."""
    store, known_of = _store(project), Known.of(project)
    listed = [described(version, known_of) for version in reversed(store.list())]
    return Versions(versions=listed, previous=store.previous())


def version_of(project: int, name: str) -> VersionDetails:
    """One version. Raises Fault where there is none of that name."""
    version, store = known(project, name), _store(project)
    ids, left_out = _kept(store, name, LEARNED_FROM), _kept(store, name, LEFT_OUT)
    about = described(version, Known.of(project))
    return VersionDetails(
        **vars(about),
        learned=len(ids) if isinstance(ids, list) else None,
        held_out=about.scores.images if about.scores else None,
        left_out=_left_out(left_out),
        classes=list(version.names),
        labels=version.label_map,
        fingerprint=version.fingerprint,
    )


def known(project: int, name: str) -> Version:
    """A version. Raises Fault where there is none of that name."""
    if not NAME.fullmatch(name):
        raise Fault(404, "that is no name of a version")
    try:
        return _store(project).get(name)
    except VersionError:
        raise Fault(404, f"project {project} has no version {name}: it was deleted, or never was") from None


@dataclass(frozen=True)
class Known:
    """What is known of all versions of a project: which one serves, the newest publication of each, the verdicts."""

    serving: str | None
    shown: dict[str, str]
    verdicts: dict[str, Verdict]

    @classmethod
    def of(cls, project: int) -> Known:
        """A project's."""
        return cls(_store(project).named(), _shown(project), verdicts(service().settings.artefacts, project))


def described(version: Version, known_of: Known) -> ModelVersion:
    """A version, as the API answers it."""
    verdict = known_of.verdicts.get(version.name)
    return ModelVersion(
        name=version.name,
        number=version.number,
        created=version.created,
        serving=version.name == known_of.serving,
        parent=version.parent,
        images=version.images,
        note=version.note,
        scores=scores(version.metrics),
        cross_fitted=CrossFitted(verdict=verdict.word, sentence=verdict.sentence) if verdict else None,
        shown=known_of.shown.get(version.name),
    )


def _shown(project: int) -> dict[str, str]:
    """Version -> its newest publication."""
    return {entry.version: entry.model_version for entry in published_of(service().settings, project).history()}


def _left_out(held: Any) -> list[LeftOutTasks]:
    try:
        tasks = LeftOut.of_json(held).tasks
        return [LeftOutTasks(reason=str(reason), tasks=list(ids)) for reason, ids in tasks.items()]
    except SIGNS:  # nothing is kept, or it is damaged
        return []


def _kept(store: VersionStore, name: str, artefact: str) -> Any:
    """JSON beside a version; None where there is none, or it is damaged."""
    try:
        return json.loads(store.read(name, artefact))
    except SIGNS:  # a VersionError is a KeyError
        return None


def _store(project: int) -> VersionStore:
    return store_of(service().settings, project)

"""Projects: what serves, what is labeled, what is being done; training, ranking, cancelling."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import redis
from flask import Response
from rq.job import Job

from backend.project.published import Publication
from backend.project.serving import known_projects, named_of, published_of, store_of
from backend.queue.enqueue import HEADS, KINDS, Jobs
from backend.queue.progress import describe
from backend.settings import Settings
from backend.web.about import About
from backend.web.api import changes
from backend.web.api.answers import (
    Asked,
    Cancelled,
    ListedVersion,
    Overview,
    Project,
    ProjectDetails,
    ServingVersion,
    Work,
)
from backend.web.api.base import ProjectPath, answer_of, check, topic
from backend.web.api.figures import believed, number
from backend.web.service import service
from model.damage import SIGNS
from model.version import Version
from model.versions import VersionError

log = logging.getLogger(__name__)

MOST_ENDED = 500  # jobs that are remembered

routes = topic("projects", "Projects: what serves, what is labeled, what is being done")


@routes.get("/projects", responses={200: Overview})
def index() -> Response:
    """All connected projects: what serves, and what is being done."""
    return answer_of(overview())


@routes.get("/projects/<int:project>", responses={200: ProjectDetails})
def show(path: ProjectPath) -> Response:
    """One project: what is live, which versions there are, and what is being done."""
    check(path.project)
    return answer_of(details(path.project))


@routes.post("/projects/<int:project>/train", responses={200: Asked})
def train(path: ProjectPath) -> Response:
    """Train on the annotations, as "Start training" in Label Studio does."""
    check(path.project)
    return answer_of(changes.ask("train", path.project, "api"))


@routes.post("/projects/<int:project>/rank", responses={200: Asked})
def rank(path: ProjectPath) -> Response:
    """Order the unlabeled tasks anew with the version that serves."""
    check(path.project)
    return answer_of(changes.ask("rank", path.project, "api"))


@routes.post("/projects/<int:project>/cancel", responses={200: Cancelled})
def cancel(path: ProjectPath) -> Response:
    """Stop what runs and drop what waits for a project."""
    check(path.project)
    return answer_of(changes.cancel(path.project, "api"))


def overview() -> Overview:
    """All connected projects, by number. While Redis is away, without jobs."""
    settings = service().settings
    numbers = known_projects(settings)
    abouts = service().abouts.of(numbers)
    workers = waiting = None
    try:
        with service().queue() as jobs:
            workers = jobs.workers()[jobs.slow.name]
            waiting = sum(queue.count for queue in jobs.queues)
    except redis.RedisError as error:
        log.error("the overview is without jobs, because Redis is away: %s", error)
    return Overview(projects=[_project(n, abouts.get(n)) for n in numbers], workers=workers, waiting=waiting)


def project_of(project: int) -> Project:
    """One project as the overview shows it."""
    return _project(project, service().abouts.of([project]).get(project))


def details(project: int) -> ProjectDetails:
    """One project with its versions, and the newest job of each kind."""
    settings = service().settings
    live = published_of(settings, project).current()
    with service().queue() as jobs:
        newest = [work(job) for kind in KINDS if (job := jobs.last(kind, project))]
        variants = [work(job) for job in jobs.variants(project)]
    return ProjectDetails(
        **vars(project_of(project)),
        live=vars(live) if live else None,
        versions=[
            ListedVersion(name=v.name, metrics=v.metrics, note=v.note) for v in store_of(settings, project).list()
        ],
        jobs=newest,
        variants=variants,
    )


def work(job: Job) -> Work:
    """What `describe` tells of a job. What has ended stays as it is, so it is asked of Redis once; but for a cycle of
    which something still goes on that nobody waits for, which may have something to say."""
    ended = service().ended
    if (kept := ended.get(job.id)) is not None:
        return kept
    told = Work(**describe(job))
    if not told.active and told.after is None and told.status != "gone" and told.kind in KINDS:
        if len(ended) >= MOST_ENDED:
            ended.clear()
        ended[job.id] = told
    return told


def _project(project: int, about: About | None) -> Project:
    settings = service().settings
    serving, live, problem = _served(settings, project)
    current: dict[str, Work | None] = dict.fromkeys(("work", "late", "following", "last"))
    try:
        with service().queue() as jobs:
            current = _works(jobs, project)
    except redis.RedisError:
        problem = problem or "what is being done is not known, because Redis is away"
    return Project(
        project=project,
        title=about.title if about else None,
        url=project_url(project),
        tasks=about.tasks if about else None,
        labeled=about.labeled if about else None,
        unlabeled=max(0, about.tasks - about.labeled) if about else None,
        counted=datetime.fromtimestamp(about.when, UTC).isoformat(timespec="seconds") if about else None,
        serving=_serving(serving) if serving else None,
        strategy=live.strategy if live else None,
        shown=live.model_version if live else None,
        problem=problem,
        **current,
    )


def studio_url(settings: Settings) -> str:
    """Label Studio as people reach it."""
    public = settings.label_studio_public_url.partition(",")[0].strip()
    return (public or settings.label_studio_url).rstrip("/")


def project_url(project: int) -> str:
    """The Data Manager of a project in Label Studio."""
    return f"{studio_url(service().settings)}/projects/{project}/data"


def task_url(project: int, task: int) -> str:
    """A task, opened there."""
    return f"{project_url(project)}?task={task}"


def _served(settings: Settings, project: int) -> tuple[Version | None, Publication | None, str | None]:
    """(the version that serves, what annotators see, what of these cannot be read)."""
    serving = live = problem = None
    try:
        live = published_of(settings, project).current()
        serving = named_of(store_of(settings, project))
    except (VersionError, *SIGNS) as error:
        log.error("project %d: %s", project, error)
        problem = f"what serves cannot be read: `mgral doctor {project}` says which file, and what to do"
    return serving, live, problem


def _serving(version: Version) -> ServingVersion:
    metrics = version.metrics or {}
    return ServingVersion(
        name=version.name,
        number=version.number,
        created=version.created,
        images=version.images,
        trained=version.parent is not None,
        map=number(metrics.get("map")),
        interval=believed(metrics),
        held_out=metrics.get("images") if isinstance(metrics.get("images"), int) else None,
    )


def _works(jobs: Jobs, project: int) -> dict[str, Work | None]:
    head, following, late = jobs.head(project), jobs.following(project), jobs.active("predict", project)
    ended = [job for kind in HEADS if (job := jobs.last(kind, project)) and job not in (head, following)]
    last = max(ended, key=lambda job: job.created_at, default=None)
    found = {"work": head, "late": late, "following": following, "last": last}
    return {name: work(job) if job is not None else None for name, job in found.items()}

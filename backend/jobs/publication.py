"""The jobs "publish", which makes a cycle's result live, and "clean up", which deletes what nobody needs after it."""

from __future__ import annotations

import json
from functools import partial

from backend.jobs.running import JobError, NotYetError, runs
from backend.project.cycle import FOLDERS, Survey, labeled_of, ranking_of
from backend.project.published import Publication
from backend.project.review.order import FILE as HEAD
from backend.project.review.order import head_of
from backend.project.work import ProjectWork
from backend.queue.graph import ACTIVE, Graph
from backend.queue.job import part_of


@runs("publish")
def publish(work: ProjectWork, cycle: str) -> dict:
    """Import the predictions of a cycle, then switch the model, the boxes and the order at once.

    Where somebody let another version serve since the cycle began, that choice stays, and nothing is made live.
    """
    folder = work.folder(cycle)
    survey, record = folder.survey(), folder.order()
    name = record["model_version"]
    shown_by = {key: record[key] for key in ("boxes_by", "threshold", "ranked") if key in record}
    publication = Publication(name, survey.version, record["strategy"], survey.annotations, **shown_by)
    if record["order"] and not len(work.published.predictions(name)):
        raise JobError(
            f"the predictions of {name} are lost, which the ranking had made: `mgral rank {work.project}` makes them "
            "anew"
        )
    work.progress("import", 0, 1)
    work.publisher.bring(publication, work.progress.say, partial(work.progress, "import"))
    with work.jobs.exclusive(work.project):
        work.progress.check()
        serving = work.store.serving()
        if serving is not None and serving.name not in (survey.served, survey.version):
            work.progress.say(f"not made live: somebody let {serving.name} serve meanwhile, and not {survey.served}")
            _afterwards(work, cycle, survey)
            return {"model_version": None}
        work.store.write(survey.version, "ranking.json", json.dumps(record).encode())
        work.store.write(survey.version, HEAD, json.dumps(head_of(record)).encode())
        work.publisher.switch(publication, work.progress.say)
    _afterwards(work, cycle, survey)
    return {"model_version": name, "predicted": len(work.published.predictions(name))}


def _afterwards(work: ProjectWork, cycle: str, survey: Survey) -> None:
    """Add what nobody waits for. The cycle's files are needed until it is cross-fitted."""
    judged = [work.add("cross_fit", cycle)] if survey.trained and work.settings.cross_fitting else []
    work.add("clean_up", after=judged)


@runs("clean_up")
def clean_up(work: ProjectWork) -> dict:
    """Delete old predictions, versions and files. Slow in Label Studio, so it is no part of what people wait for."""
    work.progress("clean up", 0, 2)
    _forget(work)
    work.progress("clean up", 1, 2)
    wait = work.publisher.clean_up(work.settings.keep_predictions, work.settings.keep_versions, work.progress.say)
    if wait:
        raise NotYetError("Label Studio has not deleted all old predictions yet", wait)
    return {}


def _forget(work: ProjectWork) -> None:
    """Delete what earlier versions' detectors saw, and the files of all cycles but of the one that follows.

    No cycle can go on with them: what it would learn from was told apart by what is live, and that is another now. Only
    those of a version that is still to be cross-fitted stay.
    """
    serving = work.store.serving()
    if serving is not None:
        work.seen_by(serving).forget_others()
    names = work.files.names(f"{work.project}/cycles")  # first: what begins after this is not among them
    head = work.jobs.head(work.project)
    if head is not None and head.meta["kind"] == "train" and head.started_at and FOLDERS not in head.meta:
        return  # it has not yet said which are its own
    own = {labeled_of(head.id), ranking_of(head.id), *head.meta.get(FOLDERS, ())} if head is not None else set()
    own |= _judged(work)
    for name in names:
        if name not in own:
            work.files.remove(f"{work.project}/cycles/{name}")
    work.files.remove(f"{work.project}/labeled")  # of an earlier release


def _judged(work: ProjectWork) -> set[str]:
    """The folders of the newest training, where its version is still to be cross-fitted."""
    training = work.jobs.last("train", work.project)
    parts = Graph.of(training).jobs() if training is not None else []
    waits = any(part_of(job) == "cross_fit" and job.get_status(refresh=False) in ACTIVE for job in parts)
    return set(training.meta.get(FOLDERS, ())) if training is not None and waits else set()

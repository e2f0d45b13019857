"""The jobs "publish", which makes a cycle's result live, and "clean up", which deletes what nobody needs after it."""

from __future__ import annotations

import json
from functools import partial

from rq import Retry

from backend.jobs.running import FOREVER, JobError, runs
from backend.project.published import Publication
from backend.project.review.order import FILE as HEAD
from backend.project.review.order import head_of
from backend.project.work import ProjectWork


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
            work.add("clean_up")
            return {"model_version": None}
        work.store.write(survey.version, "ranking.json", json.dumps(record).encode())
        work.store.write(survey.version, HEAD, json.dumps(head_of(record)).encode())
        work.publisher.switch(publication, work.progress.say)
    work.add("clean_up")
    return {"model_version": name, "predicted": len(work.published.predictions(name))}


@runs("clean_up")
def clean_up(work: ProjectWork) -> dict | Retry:
    """Delete old predictions, versions and files. Slow in Label Studio, so it is no part of what people wait for."""
    work.progress("clean up", 0, 3)
    wait = work.publisher.clean_up(work.settings.keep_predictions, work.settings.keep_versions, work.progress.say)
    if wait:  # Label Studio is still at it
        return Retry(max=FOREVER, interval=round(wait))
    work.progress("clean up", 1, 3)
    serving = work.store.serving()
    if serving is not None:
        work.seen_by(serving).forget_others()
    work.progress("clean up", 2, 3)
    head = work.jobs.head(work.project)
    if head is None:  # or its folder would go too
        for name in work.files.names(f"{work.project}/cycles"):
            work.files.remove(f"{work.project}/cycles/{name}")
        work.files.remove(f"{work.project}/labeled")
    return {}

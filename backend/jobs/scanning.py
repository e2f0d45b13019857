"""The job "scan": one shard of the images that nobody has looked at, on whichever worker is idle."""

from __future__ import annotations

from functools import partial

from backend.jobs.running import runs
from backend.label_studio.client import Task
from backend.project.work import ProjectWork


@runs("scan")
def scan(work: ProjectWork, cycle: str, number: int) -> dict:
    """Let the detector that is to serve look at the images of shard `number`."""
    folder = work.folder(cycle)
    survey = folder.survey()
    key = work.config.data_key
    tasks = [Task(task, {key: image}) for task, image in folder.shard(number)]
    seen = work.seen_by(work.store.get(survey.version))
    work.progress("scan", 0, len(tasks))
    store, _ = seen.encode(
        f"{cycle}-{number}", work.images(tasks), work.config_of_cycle.fit.batch, partial(work.progress, "scan")
    )
    folder.write(f"shards/{number}.failed.json", work.failed)
    for problem in work.failed:
        work.progress.say(f"left out: {problem}")
    return {"seen": len(store)}

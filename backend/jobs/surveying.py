"""The job "survey": which tasks there are, and which of their images nobody has looked at; these are shared out."""

from __future__ import annotations

from agent.costs import learn_costs
from agent.learning import Learned
from agent.strategies.mgral import Mgral
from backend.jobs.running import runs
from backend.label_studio.client import Task
from backend.label_studio.lead_times import efforts
from backend.project.connect import unshown_labels
from backend.project.cycle import CycleFolder, Survey, ranking_of
from backend.project.serving import first_version
from backend.project.work import ProjectWork
from backend.queue.graph import Graph
from backend.queue.job import part_of
from model.damage import DamagedError
from model.data.images import ImageError

FEWEST, MOST = 200, 2000  # images in a shard: below, a job's start outweighs it; above, a killed worker costs minutes
NAMED = 5  # of the tasks without an image
SHARES = 8  # shards of a pool that is neither small nor large: any few workers are kept busy


@runs("survey")
def survey(work: ProjectWork, cycle: str | None = None, served: str | None = None) -> dict:
    """Note all tasks of the project, once, and add the jobs that order them.

    Args:
        cycle: the folder of the cycle, where a training went before.
        served: the version that served when the cycle began.
    """
    if cycle is None:
        work.jobs.note_begin(work.project, "rank")
    folder = work.folder(cycle or ranking_of(work.head))
    try:
        noted = folder.survey()
    except (FileNotFoundError, DamagedError):
        noted = _look(work, folder, work.learned(folder) if cycle else None, served)
    scans = [work.add("scan", folder.name, k, name=f"scan-{k}", index=k) for k in range(noted.shards)]
    measures = noted.trained and work.config_of_cycle.strategy == Mgral.name and len(noted.tasks) > len(noted.labeled)
    if measures:
        learned = work.learned(folder)
        why_not = work.config_of_cycle.plan.why_not(learned.held_out, learned.error)
        if why_not:
            work.progress.say(why_not)
        measures = not why_not
    beside = [job for job in Graph.of(work.job).jobs() if part_of(job) == "hindsight"]
    work.add("plan" if measures else "rank", folder.name, after=[*beside, *scans] if measures else scans)
    return {"tasks": len(noted.tasks)}


def _look(work: ProjectWork, folder: CycleFolder, learned: Learned | None, served: str | None) -> Survey:
    """Ask Label Studio, and share out the images that nobody has looked at."""
    for line in work.store.damages():
        work.progress.say(line)
    serving = first_version(work.store, work.settings, work.config, work.published)
    promoted = learned.version if learned is not None and learned.promote else serving
    annotated = work.labeled_tasks()
    labeled = [task.id for task in annotated]
    costs = learn_costs(efforts(annotated, work.config))
    if costs.annotations:
        work.progress.say(str(costs))
    tasks = _with_image(work, list(work.studio.tasks(work.project)))
    key = work.config.data_key
    seen = work.seen_by(promoted)
    if not seen.shown.label_map:
        work.progress.say(work.config.no_match(promoted.names))
    for line in unshown_labels(work.store, work.config) if promoted.name == serving.name else ():
        work.progress.say(line)
    unseen = seen.unseen(tasks, key)
    size = min(MOST, max(FEWEST, -(-len(unseen) // SHARES)))
    shards = [unseen[start : start + size] for start in range(0, len(unseen), size)]
    for number, shard in enumerate(shards):
        folder.write(f"shards/{number}.json", [(task.id, task.data[key]) for task in shard])
    folder.write("shards/survey.failed.json", work.failed)
    noted = Survey(
        promoted.name,
        served or serving.name,
        learned is not None,
        work.annotations,
        labeled,
        [(task.id, task.data[key]) for task in tasks],
        len(shards),
        seen.folder,
        costs,
    )
    folder.write_survey(noted)
    return noted


def _with_image(work: ProjectWork, tasks: list[Task]) -> list[Task]:
    """The tasks that name an image; of the others a line goes into `work.failed`, and of a few into the log."""
    usable = []
    for task in tasks:
        try:
            work.pictures.reference(task, work.config.data_key)
        except ImageError as error:
            work.failed.append(str(error))
        else:
            usable.append(task)
    for line in work.failed[:NAMED]:
        work.progress.say(f"left out: {line}")
    if len(work.failed) > NAMED:
        work.progress.say(f"left out: {len(work.failed) - NAMED} more that name no image")
    return usable

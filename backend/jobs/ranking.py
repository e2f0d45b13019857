"""The job "rank", and what "train" ends with: order every task of a project and make the order live."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

from agent.cycle import COLD
from agent.cycle import rank as order
from agent.strategies.mgral import Mgral
from backend.jobs.inner_loop import Trained, earlier_gains, inner_loop, keep_gains
from backend.jobs.running import running
from backend.label_studio.client import Task
from backend.project.published import Publication
from backend.project.serving import first_version
from backend.project.work import ProjectWork


def rank(project: int) -> dict:
    """Order the tasks with the serving model; without any label, by coverage."""
    with running("rank", project) as work:
        return rank_and_publish(work, work.labeled_tasks())


def rank_and_publish(work: ProjectWork, labeled: list[Task], trained: Trained | None = None) -> dict:
    """Order every task with the model that is to serve, and make the result live."""
    serving = first_version(work.store, work.settings, work.config)
    learned = trained.learned if trained else None
    if learned is not None and learned.promote:
        serving = learned.version
    work.progress("fetch", 0, 1)
    tasks = list(work.studio.tasks(work.project))
    pool = work.look(tasks, {task.id for task in labeled}, serving)
    rows, cycle, variants = earlier_gains(work), serving.number, None
    if trained is not None and work.config_of_cycle.strategy == Mgral.name and len(pool):
        plan = inner_loop(work, trained, tasks, pool, serving)
        rows, cycle = keep_gains(work, rows, plan), plan.cycle
        variants = sum(plan.done(k) for k in range(len(plan.variants)))
    config = work.config_of_cycle if labeled else replace(work.config_of_cycle, strategy=COLD)
    ranking = order(pool, rows, cycle, config, work.progress)
    strategy = ranking.details.get("chosen", ranking.strategy)
    name = work.published.next_name(serving.name)
    work.published.predictions_file(name).unlink(missing_ok=True)  # of a try that crashed
    work.keep(name, pool, ranking)
    record = {
        "model_version": name,
        "strategy": strategy,
        "asked": ranking.strategy,
        "budget": ranking.budget,
        "order": [int(task) for task in ranking.order],
        "scores": [float(score) for score in ranking.scores],
        "reasons": list(ranking.reasons),
        "map_before": learned.before.map if learned and learned.before else None,
        "map_after": learned.metrics.map if learned and learned.metrics else None,
        "variants": variants,
        **ranking.details,
    }
    if "why" in record:
        work.progress.say(record["why"])
    work.store.write(serving.name, "ranking.json", json.dumps(record).encode())
    publication = Publication(name, serving.name, strategy, work.annotations)
    work.publisher.publish(publication, work.progress.say, partial(work.progress, "import"))
    work.publisher.clean_up(work.settings.keep_predictions, work.settings.keep_versions)
    for problem in work.failed:
        work.progress.say(f"left out: {problem}")
    return {
        "model_version": name,
        "strategy": ranking.strategy,
        "predicted": len(work.published.predictions(name)),
        "failed": work.failed,
    }

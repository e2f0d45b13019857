"""The job "predict": boxes and a place in the order for tasks that came after the ranking."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from agent.cycle import pool_of
from agent.cycle import rank as order
from agent.gain.rows import Rows
from agent.strategies.mgral import UNTRUSTED, Mgral
from backend.jobs.running import runs
from backend.project.boxes.outdated import outdated
from backend.project.publish import items, scores
from backend.project.shown import mend
from backend.project.unreadable import Unreadable
from backend.project.work import ProjectWork
from model.evaluate import Metrics


@runs("predict")
def predict(work: ProjectWork) -> dict:
    """Predict the tasks that have no prediction of the live version, and put them into its order.

    Runs beside a cycle: it writes nothing that a cycle reads, but a shard of what was seen.
    """
    live = work.published.current()
    known = live is not None and len(work.published.predictions(live.model_version))
    if live is None or not known or outdated(work.settings, work.project, work.config):
        work.jobs.enqueue("rank", work.project, anew=live is not None)  # of an empty project there is no order yet
        return {"predicted": 0, "failed": [], "model_version": None}
    work.progress("fetch", 0, 1)
    key = work.config.data_key
    waiting = work.studio.without_prediction(work.project, live.model_version)
    tasks = Unreadable(work.jobs, work.project, key).due(waiting)
    predictions = work.published.predictions(live.model_version)
    stored = {task: image for task, image, *_ in predictions.of(task.id for task in tasks)}
    ready = {task.id for task in tasks if stored.get(task.id, "") == task.data.get(key)}
    fresh = [task for task in tasks if task.id not in ready]
    version = work.store.get(live.version)
    images = work.images(fresh)
    seen, boxes = work.seen_by(version).encode(
        f"late-{work.job.id}", images, work.config_of_cycle.fit.batch, partial(work.progress, "scan")
    )
    metrics = Metrics(**version.metrics) if version.metrics else None
    pool = pool_of(seen, images, set(), metrics, version.names)
    # the agent learns a whole pool's order; a few late tasks are put in by the strategy that stands in for it
    strategy = UNTRUSTED if live.strategy == Mgral.name else live.strategy
    ranking = order(pool, Rows(), 0, replace(work.config_of_cycle, strategy=strategy), work.progress)
    places = dict(scores(ranking))
    predictions.put((task, image, places[task], result) for task, image, _, result in boxes.of(places))
    told = ready | places.keys()
    batch = items(((task, score, result) for task, _, score, result in predictions.of(told)), live.model_version)
    count, _ = work.studio.import_predictions(work.project, batch, len(told), partial(work.progress, "import"))
    with work.jobs.exclusive(work.project):  # not between the two steps of a publication
        mend(work.studio, work.project, work.published)
    work.progress.say(f"predicted {count} tasks under {live.model_version}")
    return {"predicted": count, "failed": work.failed, "model_version": live.model_version}

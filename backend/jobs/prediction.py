"""The job "predict": boxes and a place in the order for tasks that came after the ranking."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from agent.cycle import rank as order
from agent.gain.rows import Rows
from agent.strategies.mgral import UNTRUSTED, Mgral
from backend.jobs.ranking import rank_and_publish
from backend.jobs.running import running
from backend.project.publish import items


def predict(project: int) -> dict:
    """Predict the tasks that have no prediction of the live version, and put them into its order."""
    with running("predict", project) as work:
        live = work.published.current()
        if live is None:
            return rank_and_publish(work, work.labeled_tasks())
        work.progress("fetch", 0, 1)
        tasks = list(work.studio.without_prediction(project, live.model_version))
        stored = work.published.predictions(live.model_version).get(task.id for task in tasks)
        images = {task.id: task.data.get(work.config.data_key) for task in tasks}
        ready = {task: row for task, row in stored.items() if row[0] == images[task]}
        fresh = [task for task in tasks if task.id not in ready]
        version = work.store.get(live.version)
        pool = work.look(fresh, set(), version)
        # the agent learns a whole pool's order; a few late tasks are put in by the strategy that stands in for it
        strategy = UNTRUSTED if live.strategy == Mgral.name else live.strategy
        ranking = order(pool, Rows(), 0, replace(work.config_of_cycle, strategy=strategy), work.progress)
        predictions = work.keep(live.model_version, pool, ranking)
        rows = ready | predictions.get(int(task) for task in ranking.order)
        batch = items(((task, score, result) for task, (_, score, result) in rows.items()), live.model_version)
        count, _ = work.studio.import_predictions(project, batch, len(batch), partial(work.progress, "import"))
        work.progress.say(f"predicted {count} tasks under {live.model_version}")
        return {"predicted": count, "failed": work.failed, "model_version": live.model_version}

"""The job "rank": put every task that is not labeled into the agent's order, which the next job publishes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from agent.cycle import COLD, pool_of
from agent.cycle import rank as order
from agent.gain.rows import Rows
from agent.inner_loop.plan import Plan
from agent.pool.pool import Pool
from agent.pool.projection import project
from agent.strategies import Ranking
from backend.jobs.running import JobError, runs
from backend.label_studio.labels import renewed
from backend.project.boxes.nothing_shown import nothing_shown
from backend.project.boxes.outdated import asked_for, threshold_of
from backend.project.boxes.thresholds import thresholds_of
from backend.project.boxes.unchanged import unchanged
from backend.project.cycle import Survey
from backend.project.predictions import PredictionRow, Predictions
from backend.project.publish import LABELED, scores
from backend.project.review.cycles import past_of, trainings
from backend.project.serving import detector_of
from backend.project.work import ProjectWork
from model.damage import DamagedError
from model.evaluate import Metrics
from model.version import Version

FEWEST_SEEN = 0.5  # of the tasks' images: an order of less would be no order of the project


@runs("rank")
def rank(work: ProjectWork, cycle: str) -> dict:
    """Order the tasks by what the variants measured; without any label, by coverage."""
    folder = work.folder(cycle)
    local = folder.pull()
    survey = folder.survey()
    learned = work.learned(folder) if survey.trained else None
    version = work.store.get(survey.version)
    _look_again(work, cycle, survey, version)
    store, boxes = work.seen_by(version).gather()
    metrics = Metrics(**version.metrics) if version.metrics else None
    images = work.cycle(survey.as_tasks(work.config.data_key)).images
    pool = pool_of(store, images, set(survey.labeled), metrics, detector_of(version).names)
    failed = folder.failures()
    seen, known = len(pool) + len(pool.labeled_ids if pool.labeled_ids is not None else ()), len(survey.tasks)
    if seen < FEWEST_SEEN * known:
        raise JobError(
            f"only {seen} of {known} images of project {work.project} could be looked at: "
            f"{failed[0] if failed else 'see the log of the scan'}"
        )
    if seen < known:
        work.progress.say(f"{known - seen} of {known} images are left out of the order: they could not be looked at")
    rows, number, variants = _earlier_gains(work), version.number, None
    if (local / "plan.json").exists():
        try:
            plan = Plan.load(local)
            rows, number = _keep_gains(work, rows, plan), plan.cycle
            variants = sum(plan.done(k) for k in range(len(plan.variants)))
        except DamagedError as error:
            work.progress.say(str(error))
    config = work.config_of_cycle if survey.labeled else replace(work.config_of_cycle, strategy=COLD)
    if work.settings.budget_in == "minutes" and survey.costs:
        config = replace(config, agent=replace(config.agent, costs=survey.costs.costs))
    past = past_of(trainings(work.files, work.project, work.store))
    config = replace(config, agent=replace(config.agent, past=past))
    ranking = order(pool, rows, number, config, work.progress)
    places = _places(pool, ranking)
    name = _live_already(work, version, boxes, places, ranking)
    if name is None:
        name = work.published.next_name(version.name)
        work.published.predictions(name).delete()  # of a try that crashed
        work.published.predictions(name).put(
            (task, image, places[task], renewed(result)) for task, image, _, result in boxes.of(places)
        )
    remark = _remark(work, version, boxes.of(places))
    strategy = ranking.details.get("chosen", ranking.strategy)
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
        "annotations": survey.annotations,
        "costs": survey.costs.to_json() if survey.costs else None,
        "budget_in": work.settings.budget_in,
        "boxes_by": asked_for(work.config, version),
        "threshold": threshold_of(work.config, work.settings, version),
        "remark": remark,
        "map": project(pool, pool.rows(ranking.order[: ranking.budget])),
        "ranked": datetime.now(UTC).isoformat(timespec="seconds"),
        **ranking.details,
    }
    if "why" in record:
        work.progress.say(record["why"])
    folder.write("order.json", record)
    work.add("publish", cycle)
    return {"strategy": ranking.strategy, "failed": failed}


def _look_again(work: ProjectWork, cycle: str, survey: Survey, version: Version) -> None:
    """Where the label config was changed since the survey, nobody has seen what it asks for: see it here."""
    now = work.seen_by(version)
    if survey.seen in ("", now.folder):
        return
    key = work.config.data_key
    tasks = now.unseen(survey.as_tasks(key), key)
    if tasks:
        work.progress.say(f"the label config was changed meanwhile: looking at {len(tasks)} images again")
        batch = work.config_of_cycle.fit.batch
        now.encode(f"{cycle}-again", work.images(tasks), batch, partial(work.progress, "rank"))


def _live_already(
    work: ProjectWork, version: Version, boxes: Predictions, places: dict[int, float], ranking: Ranking
) -> str | None:
    """The name of what is live, where the ranking says the same: nothing is to be imported then."""
    live = work.published.current()
    if live is None or live.version != version.name or live.boxes_by != asked_for(work.config, version):
        return None
    if live.threshold != threshold_of(work.config, work.settings, version):
        return None
    order = [int(task) for task in ranking.order]
    if not order or not unchanged(work.published.predictions(live.model_version), boxes, places, order):
        return None
    work.progress.say(f"boxes and order are those of {live.model_version}, which is live: nothing is imported")
    return live.model_version


def _places(pool: Pool, ranking: Ranking) -> dict[int, float]:
    """Task -> score, of a pool and of its labeled images."""
    labeled = [] if pool.labeled_ids is None else [int(task) for task in pool.labeled_ids]
    return dict.fromkeys(labeled, LABELED) | dict(scores(ranking))


def _remark(work: ProjectWork, version: Version, rows: Iterable[PredictionRow]) -> str:
    """Why no box is shown, where none is; "" where some are."""
    label_map = work.config.label_map(version.names, trained=version.parent is not None)
    if not label_map:
        return work.config.no_match(version.names)  # the survey has told it
    line = nothing_shown(rows, version.name, work.config, label_map, thresholds_of(work.settings, version))
    if line:
        work.progress.say(line)
    return line


def _earlier_gains(work: ProjectWork) -> Rows:
    """What earlier cycles measured; nothing where there is none, or where it is damaged and so thrown away."""
    name = f"{work.project}/gain_rows.npz"
    try:
        return Rows.load(work.files.pull(name))
    except FileNotFoundError:
        return Rows()
    except DamagedError as error:
        work.progress.say(str(error))
        work.files.remove(name)
        return Rows()


def _keep_gains(work: ProjectWork, earlier: Rows, plan: Plan) -> Rows:
    """Put what a cycle measured beside what earlier ones did; stored, and returned."""
    name = f"{work.project}/gain_rows.npz"
    rows = earlier.renewed(plan.cycle, plan.rows())
    rows.save(work.files.local / name)
    work.files.push(name)
    return rows

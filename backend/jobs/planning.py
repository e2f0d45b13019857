"""The job "plan": which batches a cycle measures before the tasks are ordered; each is a job of its own."""

from __future__ import annotations

from rq.job import Job

from agent.cycle import pool_of
from backend.jobs.running import runs
from backend.project.serving import detector_of, untrained_of
from backend.project.work import ProjectWork
from model.evaluate import Metrics


@runs("plan")
def plan(work: ProjectWork, cycle: str) -> dict:
    """Write down what the variants need, and add a job for each; a variant waits for the control of its group."""
    folder = work.folder(cycle)
    local = folder.pull()
    survey, learned = folder.survey(), work.learned(folder)
    version = work.store.get(survey.version)
    tasks = survey.as_tasks(work.config.data_key)
    on_images = work.cycle(tasks)
    detector = detector_of(version)
    store, _ = work.seen_by(version).gather()
    metrics = Metrics(**version.metrics) if version.metrics else None
    pool = pool_of(store, on_images.images, set(survey.labeled), metrics, detector.names)
    dataset = folder.dataset()
    untrained = untrained_of(work.store, work.settings, work.config)
    try:
        hindsight = on_images.look_back(folder.start.pull(), dataset, learned.earlier, untrained)
        planned = on_images.plan(local, dataset, pool, detector, learned, hindsight)
    except (ValueError, ArithmeticError) as error:
        work.progress.say(f"nothing is measured for the order: {error}")
        work.add("rank", cycle)
        return {"variants": 0}
    folder.push()
    work.progress.say(f"{len(planned.variants)} variants to train for the order")
    controls: dict[str, Job] = {}
    jobs: list[Job] = []
    for index, variant in enumerate(planned.variants):  # controls come first
        after = [] if variant.control else [controls[variant.group]]
        job = work.add(
            "variant", cycle, index, name=f"variant-{index}", after=after, index=index, control=variant.control
        )
        jobs.append(job)
        if variant.control:
            controls[variant.group] = job
    work.add("rank", cycle, after=jobs)
    return {"variants": len(planned.variants)}

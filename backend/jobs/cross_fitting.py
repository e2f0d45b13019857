"""The job "cross_fit": whether the version that a cycle trained is better, where its holdout is too small to tell.

It comes after the cycle, because nobody waits for it: the model and the order are live. So it gives way to every
training; what it has reached is kept.
"""

from __future__ import annotations

from contextlib import suppress

from agent.cross_fitting import CrossFitting, CrossFittingError, sentence, why_not, word
from agent.holdout import with_parent
from backend.jobs.running import runs
from backend.project.review.verdicts import Verdict, keep
from backend.project.work import ProjectWork
from backend.queue.progress import UNABLE, HandedBackError
from model.progress import Cancelled, Watch

PLACE = "cross-fitting"  # in the cycle's folder


@runs("cross_fit")
def cross_fit(work: ProjectWork, cycle: str) -> dict:
    """Judge the version of a cycle on every labeled image, and say what came out."""
    folder = work.folder(cycle)
    learned, labeled = work.learned(folder), folder.dataset()
    reason = why_not(learned.metrics, labeled) if work.settings.cross_fitting else "CROSS_FITTING is off"
    if not reason:
        folder.pull(only=f"{PLACE}/*")
        fitting = CrossFitting(folder.local / PLACE, work.store, work.config_of_cycle.fit, _giving_way(work))
        try:
            compared = with_parent(fitting.compare(learned.version, labeled))
        except (CrossFittingError, Cancelled) as error:
            reason = str(error)
        finally:  # a checkpoint too, for whoever goes on
            if (folder.local / PLACE).exists():
                folder.push(PLACE)
    if reason:
        work.progress.say(f"{learned.version.name} is not cross-fitted: {reason}")
        return {}
    assert compared is not None  # `why_not` asks for boxes
    verdict = Verdict(learned.version.name, word(compared), sentence(compared, learned.version))
    keep(work.files, work.project, verdict)
    work.progress.say(verdict.sentence)
    if advice := _advice(work, verdict):
        work.progress.say(advice)
    return {}


def _advice(work: ProjectWork, verdict: Verdict) -> str:
    """What an admin should do now; "" where all is as it should be."""
    serves = work.store.named() == verdict.version
    if verdict.word == "worse" and serves:
        command = f"`mgral versions {work.project} --roll-back`"
        return f"it serves, though it is worse: roll back on the page Versions, or {command}"
    if verdict.word == "better" and not serves:
        command = f"`mgral versions {work.project} --promote {verdict.version}`"
        return f"it does not serve, though it is better: promote it on the page Versions, or {command}"
    return ""


def _giving_way(work: ProjectWork) -> Watch:
    """The job's progress, which also hands it back where a training waits for a worker, and ends it where the project's
    next training has begun: with that, its version will be judged too."""

    def watch(stage: str, done: int, total: int, **figures: float) -> None:
        work.progress(stage, done, total, **figures)
        with suppress(*UNABLE):
            newest = work.jobs.last("train", work.project)
            if newest is not None and newest.id != work.head and newest.started_at is not None:
                raise Cancelled("the next training has begun; its version will be")
            if work.jobs.slow.count:
                raise HandedBackError("a training waits for a worker")

    return watch

"""Making a ranking live: one bulk import, one switch of boxes and order; going back to a state; cleaning up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from math import isclose

from agent.strategies import Ranking
from backend.label_studio.client import Studio, StudioAway
from backend.project.predictions import Predictions
from backend.project.published import Publication, Published
from backend.project.shown import mend
from backend.queue.enqueue import Jobs
from model.progress import Report
from model.versions import Version, VersionStore

log = logging.getLogger(__name__)

LABELED = 1.0  # score of a task that is labeled already: last in the order
TRIES = 3  # of an import that Label Studio did not answer in time
LOOK_SECONDS = 1.0  # between two looks whether the worker is told to stop
DELETE_SECONDS = 0.03  # a prediction, in Label Studio


def scores(ranking: Ranking) -> list[tuple[int, float]]:
    """(task id, score in (0, 1)) in the ranking's order: Label Studio serves the lowest score first.

    Scores are places, not priorities, so that no two are equal and the order is exactly the ranking's.
    """
    count = len(ranking.order)
    return [(int(task), (place + 0.5) / count) for place, task in enumerate(ranking.order)]


def items(predictions: Iterable[tuple[int, float, list[dict]]], model_version: str) -> Iterator[dict]:
    """What Label Studio's bulk import takes, of (task id, score, regions)."""
    return (
        {"task": task, "result": result, "score": score, "model_version": model_version}
        for task, score, result in predictions
    )


@dataclass(frozen=True)
class Publisher:
    """Changes what a project's annotators see: in Label Studio, and in what is kept here.

    Attributes:
        settle: seconds without a new prediction after which an unanswered import counts as ended.
    """

    studio: Studio
    project: int
    store: VersionStore
    published: Published
    settle: float = 60.0

    def bring(self, publication: Publication, say: Callable[[str], None], report: Report) -> None:
        """See that Label Studio holds what was predicted under `publication`, each task's once; nobody sees it yet.

        Safe to repeat: it goes on where an earlier try stopped, and leaves alone what is live, to which others add late
        tasks. Raises StudioAway where it is worth trying again.
        """
        name, live = publication.model_version, self.published.current()
        if live is not None and live.model_version == name:
            return
        predictions = self.published.predictions(name)
        problem = ""
        for _ in range(TRIES):
            held = self._held(name, predictions, say, report)
            left = items((row for row in predictions if row[0] not in held), name)
            try:
                stored, deleted = self.studio.import_predictions(
                    self.project, left, len(predictions) - len(held), report
                )
            except StudioAway as error:
                problem = str(error)
                say(f"waiting until Label Studio has stored what it was sent: {problem}")
                self._settled(name, partial(report, total=len(predictions)))
                continue
            if deleted:
                say(f"{len(deleted)} tasks were deleted meanwhile and are left out")
            count = self._count(name)
            if count <= len(held) + stored:
                return
            problem = f"it holds {count} predictions under {name}, {len(held) + stored} were expected"
        raise StudioAway(f"project {self.project}: the import into Label Studio did not end well: {problem}")

    def switch(self, publication: Publication, say: Callable[[str], None]) -> None:
        """Show the boxes and the order of `publication`, and let its version serve here.

        Safe to repeat. Label Studio is asked first, because it may refuse: the last state stays live on both sides
        then. `mend` ends what a crash between the two left half done. Where nothing was predicted, as in a project
        without tasks, Label Studio would refuse the name: `mend` switches once there is a prediction.
        """
        name = publication.model_version
        stored = self._count(name)
        if stored:
            self.studio.switch(self.project, name)
        serving = self.store.serving()
        if serving is None or serving.name != publication.version:
            self.store.promote(publication.version)
        self.published.publish(publication)
        mend(self.studio, self.project, self.published)
        if stored:
            say(f"live: {stored} tasks under {name}, ordered by {publication.strategy}")
        else:
            say(f"{name} holds no task yet: Label Studio shows it as soon as tasks are imported and predicted")

    def clean_up(self, keep_predictions: int, keep_versions: int, say: Callable[[str], None] = log.info) -> float:
        """Drop all but the newest published states, and all but the newest versions.

        Returns the seconds after which to call it again, 0.0 when all is done: deleting is slow, and Label Studio goes
        on after a proxy has given up waiting for it. What Label Studio shows is never deleted.
        """
        self.store.prune(keep_versions)
        wait = 0.0
        try:
            shown = self.studio.project(self.project)["model_version"]
            for entry in self.published.history()[:-keep_predictions]:
                name = entry.model_version
                if name == shown:
                    continue
                if wait := self._delete(name, say):
                    break
                self.published.forget([name])
        except StudioAway as error:
            say(f"cleaning up goes on later: {error}")
            wait = self.settle
        return wait

    def show(self, version: Version, annotations: int, jobs: Jobs) -> str:
        """Show the boxes and the order of another version. Returns one line that says how.

        At once where Label Studio still holds its predictions; otherwise a ranking job makes them.
        """
        entry = self.published.of_version(version.name)
        if entry is not None and self.studio.model_versions(self.project).get(entry.model_version):
            self.studio.switch(self.project, entry.model_version)
            self.published.publish(replace(entry, annotations=annotations))
            jobs.enqueue("predict", self.project)
            return f"project {self.project} shows {entry.model_version}"
        job, _ = jobs.enqueue("rank", self.project, anew=True)
        return f"version {version.name} serves; its predictions are being made by job {job.id}"

    def _held(self, name: str, predictions: Predictions, say: Callable[[str], None], report: Report) -> set[int]:
        """The tasks whose prediction an earlier try has stored; what is double or of another ranking is deleted."""
        if not self._count(name):
            return set()
        wanted = {task: (score, len(result)) for task, score, result in predictions}
        held: set[int] = set()
        wrong = []
        for one in self.studio.predictions(self.project, name):
            score, regions = wanted.get(one.task, (-1.0, 0))
            if one.task not in held and isclose(one.score, score, abs_tol=1e-9) and one.regions == regions:
                held.add(one.task)
            else:
                wrong.append(one.id)
        say(f"{len(held)} of {len(wanted)} predictions are in Label Studio already")
        if wrong:
            say(f"deleting {len(wrong)} of an earlier ranking, about {len(wrong) * DELETE_SECONDS:.0f} s")
        for number, prediction in enumerate(wrong, 1):
            self.studio.delete_prediction(prediction)
            report(number, len(wrong))
        return held

    def _settled(self, name: str, report: Callable[[int], None]) -> None:
        """Return once the number of predictions under `name` stands still; it is reported, which may end the wait."""
        seen = -1
        while (count := self._count(name)) != seen:
            seen = count
            end = time.monotonic() + self.settle
            while (left := end - time.monotonic()) > 0:
                report(count)
                time.sleep(min(left, LOOK_SECONDS))

    def _delete(self, name: str, say: Callable[[str], None]) -> float:
        """Delete the predictions under `name`; returns the seconds that Label Studio may still need, 0.0 when done."""
        count = self._count(name)
        if not count:
            return 0.0
        seconds = count * DELETE_SECONDS
        say(f"deleting {count} predictions of {name}, about {seconds:.0f} s")
        try:
            self.studio.delete_predictions(self.project, name)
        except StudioAway as error:
            if self._count(name):
                say(f"Label Studio is still deleting {name}: {error}")
                return self.settle + 2 * seconds
        return 0.0

    def _count(self, name: str) -> int:
        return self.studio.model_versions(self.project).get(name, 0)

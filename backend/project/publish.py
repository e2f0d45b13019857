"""Making a ranking live: one bulk import, one switch of boxes and order; and going back to an earlier state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from agent.strategies import Ranking
from backend.label_studio.client import Studio
from backend.project.published import Publication, Published
from backend.queue.enqueue import Jobs
from model.progress import Report
from model.versions import Version, VersionStore

LABELED = 1.0  # score of a task that is labeled already: last in the order


def scores(ranking: Ranking) -> list[tuple[int, float]]:
    """(task id, score in (0, 1)) in the ranking's order: Label Studio serves the lowest score first.

    Scores are places, not priorities, so that no two are equal and the order is exactly the ranking's.
    """
    count = len(ranking.order)
    return [(int(task), (place + 0.5) / count) for place, task in enumerate(ranking.order)]


def items(predictions: Iterable[tuple[int, float, list[dict]]], model_version: str) -> list[dict]:
    """What Label Studio's bulk import takes, of (task id, score, regions)."""
    return [
        {"task": task, "result": result, "score": score, "model_version": model_version}
        for task, score, result in predictions
    ]


@dataclass(frozen=True)
class Publisher:
    """Changes what a project's annotators see: in Label Studio, and in what is kept here."""

    studio: Studio
    project: int
    store: VersionStore
    published: Published

    def publish(self, publication: Publication, say: Callable[[str], None], report: Report) -> None:
        """Import what was predicted under `publication`, then make its version serve and switch Label Studio to it.

        A crash before the switch leaves the last state live; what was imported in vain is deleted by the next try.
        """
        name = publication.model_version
        if self.studio.model_versions(self.project).get(name):
            self.studio.delete_predictions(self.project, name)
        batch = items(self.published.predictions(name), name)
        stored, deleted = self.studio.import_predictions(self.project, batch, len(batch), report)
        if deleted:
            say(f"{len(deleted)} tasks were deleted meanwhile and are left out")
        serving = self.store.serving()
        if serving is None or serving.name != publication.version:
            self.store.promote(publication.version)
        self.published.publish(publication)
        self.studio.switch(self.project, name)
        say(f"live: {stored} tasks under {name}, ordered by {publication.strategy}")

    def clean_up(self, keep_predictions: int, keep_versions: int) -> None:
        """Drop all but the newest published states, and all but the newest versions."""
        old = [entry.model_version for entry in self.published.history()[:-keep_predictions]]
        stored = self.studio.model_versions(self.project)
        for name in old:
            if stored.get(name):
                self.studio.delete_predictions(self.project, name)
        self.published.forget(old)
        self.store.prune(keep_versions)

    def show(self, version: Version, annotations: int, jobs: Jobs) -> str:
        """Show the boxes and the order of another version. Returns one line that says how.

        At once where Label Studio still holds its predictions; otherwise a ranking job makes them.
        """
        entry = self.published.of_version(version.name)
        if entry is not None and self.studio.model_versions(self.project).get(entry.model_version):
            self.published.publish(replace(entry, annotations=annotations))
            self.studio.switch(self.project, entry.model_version)
            jobs.enqueue("predict", self.project)
            return f"project {self.project} shows {entry.model_version}"
        job, _ = jobs.enqueue("rank", self.project)
        return f"version {version.name} serves; its predictions are being made by job {job.id}"

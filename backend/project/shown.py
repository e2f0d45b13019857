"""Whether Label Studio shows what is live here; setting it right where it does not.

The two can part: a refused or interrupted switch, a project that was connected before it had tasks, somebody who
changed the sampling or the model version in Settings, or deleted predictions. What is live here decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from backend.label_studio.client import ORDERED, Studio
from backend.project.published import Published


@dataclass(frozen=True)
class Difference:
    """What Label Studio shows instead of what is live.

    Attributes:
        live: the name of what is live here.
        settings: what is to be set in the project, with the value that it has now instead.
        missing: predictions that were made and are not in Label Studio.
        double: predictions that a task has besides its first.
    """

    live: str
    settings: dict[str, tuple[Any, Any]]
    missing: int
    double: int

    def __str__(self) -> str:
        said = [f"{key} is {seen!r} and not {wanted!r}" for key, (wanted, seen) in self.settings.items()]
        if self.missing:
            said.append(f"{self.missing} predictions of {self.live} are missing")
        if self.double:
            said.append(f"{self.double} predictions of {self.live} are double")
        return ", ".join(said)


def compare(studio: Studio, project: int, published: Published) -> Difference | None:
    """How Label Studio differs from what is live; None where it does not, or where nothing is live yet.

    A name without predictions cannot be shown: Label Studio refuses it, so it is no difference of the settings.
    """
    live = published.current()
    if live is None:
        return None
    name = live.model_version
    stored = studio.model_versions(project).get(name, 0)  # first: what comes meanwhile must not look double
    lacking = studio.count_without_prediction(project, name)
    info = studio.project(project)
    held = info["task_number"] - lacking
    wanted = {"sampling": ORDERED} | ({"model_version": name} if stored else {})
    settings = {key: (value, info[key]) for key, value in wanted.items() if info[key] != value}
    missing = max(0, min(len(published.predictions(name)), info["task_number"]) - held)
    double = max(0, stored - held)
    return Difference(name, settings, missing, double) if settings or missing or double else None


def mend(studio: Studio, project: int, published: Published) -> str | None:
    """Make Label Studio show what is live. Returns a line that says what was different, and what was done.

    Missing predictions are only told: the job "predict" stores again what was made, after which `mend` can show it.
    """
    difference = compare(studio, project, published)
    if difference is None:
        return None
    if difference.settings:
        changes = {key: wanted for key, (wanted, _) in difference.settings.items()}
        studio.call("PATCH", f"/api/projects/{project}/", json=changes)
    if difference.double:
        _thin_out(studio, project, difference.live)
    done = ["set right"] if difference.settings or difference.double else []
    if difference.missing:
        done.append('the job "predict" puts back what is missing')
    return f"project {project} in Label Studio: {difference}: {'; '.join(done)}"


def _thin_out(studio: Studio, project: int, name: str) -> None:
    """Leave each task the first of its predictions under `name`."""
    seen: set[int] = set()
    for one in studio.predictions(project, name):
        if one.task in seen:
            studio.delete_prediction(one.id)
        seen.add(one.task)

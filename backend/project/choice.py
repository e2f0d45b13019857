"""Letting another version serve by hand: here and in Label Studio, under the lock that publications hold too."""

from __future__ import annotations

from backend.label_studio.client import Studio
from backend.project.publish import Publisher
from backend.project.serving import published_of, store_of
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from model.versions import Version


def choose(settings: Settings, jobs: Jobs, project: int, version: str | None) -> tuple[Version, str]:
    """(the version that serves now, a line that says when annotators see its boxes and order).

    Args:
        version: its name; None for the one that served before.

    Raises:
        VersionError: there is no such version, or none served before.
        StudioError: Label Studio refuses, or is away.
    """
    studio, store = Studio.from_settings(settings), store_of(settings, project)
    annotations = studio.project(project)["total_annotations_number"]  # first: while it is away nothing is changed
    with jobs.exclusive(project):  # not beside a publication, which would undo it
        chosen = store.promote(version) if version else store.roll_back()
        line = Publisher(studio, project, store, published_of(settings, project)).show(chosen, annotations, jobs)
    return chosen, line

"""What in MODEL_DIR is a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.project.published import Publication
from backend.project.serving import known_projects, projects, published_of
from backend.settings import Settings
from tests.s3 import place


@pytest.mark.parametrize("kind", ["directory", "memory"])
def test_only_numbers_that_hold_something_published_are_projects(kind: str, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, model_dir=place(kind, tmp_path), cache_dir=tmp_path / "cache")
    assert projects(settings) == known_projects(settings) == []
    files = settings.artefacts
    for project in (12, 7):
        published_of(settings, project).publish(Publication("v1-r001", "v1", "entropy", 0))
    for name in ("backup/published.json", "007/published.json", "7.old/published.json", "lost+found/x", "3/cycle.json"):
        files.write(name, b"[]")
    files.forget()
    assert projects(settings) == [7, 12]
    assert known_projects(settings) == [3, 7, 12]

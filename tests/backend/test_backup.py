"""What docs/OPERATIONS.md says of backing up and restoring: the same version serves, in the same order."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from backend import plugin
from backend.commands.doctor_files import FilesCheck
from backend.jobs import running
from backend.project.serving import published_of, store_of
from tests.backend.installation import CONFIG, Installation, settings_of
from tests.model.made import contents, squares
from tests.studio import HeldProject, HeldStudio


def test_a_backup_is_a_copy(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = squares(tmp_path / "images", 5).images
    with HeldStudio({1: HeldProject(CONFIG, {image.id: image.path for image in images})}) as studio:
        settings = settings_of(tmp_path, redis_url, studio)
        for module in (running, plugin):
            monkeypatch.setattr(module, "get_settings", lambda: settings)
        assert Installation(settings, studio).run("rank")["status"] == "finished"
        before = published_of(settings, 1).current()
        assert before is not None
        order = json.loads(store_of(settings, 1).read(before.version, "ranking.json"))["order"]

        # back up: a copy of MODEL_DIR while no job runs; of the pool, which is a cache, none is needed
        shutil.copytree(settings.model_dir, tmp_path / "backup", ignore=shutil.ignore_patterns("pool", "*.lock"))

        # restore: the copy into an empty directory; Redis is empty, and so is the cache
        shutil.copytree(tmp_path / "backup", tmp_path / "restored")
        changes = {"model_dir": str(tmp_path / "restored"), "queue_name": "restored", "cache_dir": tmp_path / "empty"}
        settings = settings.model_copy(update=changes)
        settings.__dict__.pop("artefacts", None)
        assert list(FilesCheck(settings, 1).damages()) == []
        assert published_of(settings, 1).current() == before
        serving = store_of(settings, 1).serving()
        assert serving is not None
        assert serving.name == before.version

        stored = list(studio.projects[1].predictions)
        again = Installation(settings, studio).run("rank")
        assert again["status"] == "finished"
        assert any("nothing is imported" in line for line in again["log"])
        assert studio.projects[1].predictions == stored
        assert json.loads(store_of(settings, 1).read(before.version, "ranking.json"))["order"] == order
        assert contents(tmp_path / "backup/1/versions").keys() == {
            name for name in contents(tmp_path / "restored/1/versions") if name != ".lock"
        }

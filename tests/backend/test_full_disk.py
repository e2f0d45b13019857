"""A disk of MODEL_DIR that is full: said plainly, before a training where it can be known; nothing is broken by it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from backend import plugin
from backend.jobs import running
from backend.project.serving import published_of, store_of
from backend.web.app import create_app
from model import disk
from model.damage import DamagedError
from model.disk import DiskFullError, is_full, told
from tests.backend.installation import CONFIG, IMAGES, Installation, label, settings_of
from tests.backend.web.requests import task
from tests.model.made import contents, squares
from tests.studio import HeldProject, HeldStudio

MEGABYTES = 24  # of the disk: four times the weights, and too few for a training


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, in memory."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount`")
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


@pytest.fixture
def installation(
    small: Path, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Installation]:
    """A project that is ordered, on the small disk."""
    data = squares(tmp_path / "images", IMAGES)
    held = HeldProject(CONFIG, {image.id: image.path for image in data.images})
    with HeldStudio({1: held}) as studio:
        settings = settings_of(tmp_path, redis_url, studio).model_copy(update={"model_dir": str(small / "models")})
        for module in (running, plugin):
            monkeypatch.setattr(module, "get_settings", lambda: settings)
        made = Installation(settings, studio)
        assert made.run("rank")["status"] == "finished"
        yield made


def ask(installation: Installation) -> int:
    """The status of a request for the boxes of an image that nobody predicted."""
    asked = {"tasks": [task(1, 1, "/data/upload/1/2.png")], "project": "1.1", "label_config": CONFIG, "params": {}}
    answer = create_app(installation.settings).test_client().post("/predict", json=asked)
    assert len(answer.get_json().get("results", [])) == 1, answer.get_json()
    return answer.status_code


def fill(place: Path, leave: int) -> Path:
    """Take all of a disk but some bytes; the file that takes them."""
    file = place / "filler"
    with file.open("wb") as out:
        os.posix_fallocate(out.fileno(), 0, disk.free(place) - leave)
    return file


def test_a_full_disk_costs_the_job_and_nothing_else(installation: Installation, small: Path) -> None:
    settings, held = installation.settings, installation.studio.projects[1]
    live, shown = published_of(settings, 1).current(), held.counts()

    # before a training it is known
    label(held)
    seen = installation.run("train")
    assert seen["status"] == "failed"
    assert "a training needs about 1" in seen["error"]
    assert "MB on the disk of MODEL_DIR" in seen["error"]
    assert len(store_of(settings, 1).list()) == 1

    # a ranking fails where it meets it: while it looks, and when there is no room for its predictions
    for leave in (0, 8192):
        shutil.rmtree(Path(settings.model_dir) / "1/pool", ignore_errors=True)
        filler = fill(small, leave)
        versions = contents(Path(settings.model_dir) / "1/versions")
        assert ask(installation) == 200  # though what is predicted at once cannot be remembered
        seen = installation.run("rank")
        assert seen["status"] == "failed"
        assert "the disk of MODEL_DIR is full (" in seen["error"]
        assert "make room" in seen["error"]
        assert "\n" not in seen["error"]
        assert contents(Path(settings.model_dir) / "1/versions") == versions
        assert published_of(settings, 1).current() == live
        assert held.counts() == shown
        filler.unlink()
    assert installation.run("rank")["status"] == "finished"


def test_which_errors_are_a_full_disk(small: Path, tmp_path: Path) -> None:
    fill(small, 0)
    places = {"CACHE_DIR": tmp_path, "MODEL_DIR": small}
    with (
        pytest.raises(
            DiskFullError, match=r"^the disk of MODEL_DIR is full \(.*small: 0 MB free\): make room, or point"
        ),
        told(places),
    ):
        (small / "file").write_bytes(bytes(100_000))
    (small / "file").unlink()
    with pytest.raises(DiskFullError), told(places):
        torch.save(torch.zeros(100_000), small / "weights.pt")
    (small / "weights.pt").unlink()
    with pytest.raises(DiskFullError), told(places), sqlite3.connect(small / "one.sqlite") as database:
        database.execute("CREATE TABLE a (b)")
    with pytest.raises(DamagedError), told(places):
        raise DamagedError("another error stays what it is")
    assert not is_full(RuntimeError("out of memory"))


def test_the_line_before_a_training_says_how_much(tmp_path: Path) -> None:
    free = disk.free(tmp_path / "not there yet")
    assert disk.check(tmp_path, free / 4, "a training") == ""
    assert "a training needs about" in disk.check(tmp_path, free / 1.5, "a training")
    with pytest.raises(DiskFullError, match=r"a training needs about .* GB on the disk of MODEL_DIR, and .* are free"):
        disk.check(tmp_path, free * 2.0, "a training")

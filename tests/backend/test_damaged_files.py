"""Every file that the product writes below MODEL_DIR, damaged in every way: no other project is harmed.

Routes answer below 500, the other project goes on, `mgral doctor` names what no job mends by itself, and a ranking
comes through or fails with a line that names the file and the remedy; the next one comes through. A few cases are tried
with each run of the tests, all with `make chaos`.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend import plugin
from backend.commands.doctor_files import FilesCheck
from backend.jobs import reconciliation, running
from backend.project import serving
from backend.project.review.cycles import trainings
from backend.project.review.reviews import read
from backend.project.serving import published_of, store_of
from backend.queue.enqueue import Jobs
from backend.web.app import create_app
from model.thresholds import USUAL
from tests.backend.installation import CONFIG, IMAGES, LABELED, TRAINING, Installation, label, settings_of
from tests.backend.web.requests import event, task
from tests.model.made import squares
from tests.studio import HeldProject, HeldStudio

WAYS = ("cut", "emptied", "other bytes", "missing", "a directory", "a wrong shape")


@pytest.fixture(scope="module")
def made(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Two projects that are ordered; the first was trained, and its last training has come as far as its order."""
    folder = tmp_path_factory.mktemp("made")
    data = squares(folder / "images", IMAGES)
    held = {
        number: HeldProject(CONFIG, {image.id: image.path for image in data.images[: IMAGES if number == 1 else 3]})
        for number in (1, 2)
    }
    with HeldStudio(held) as studio, pytest.MonkeyPatch.context() as patch:
        settings = settings_of(folder, redis_url, studio)
        for module in (running, plugin, reconciliation):
            patch.setattr(module, "get_settings", lambda: settings)
        installation = Installation(settings, studio)
        for number in held:
            assert installation.run("rank", number)["status"] == "finished"
        label(held[1])
        seen = installation.run("train")
        assert seen["status"] == "finished", seen
        held[1].annotations[1][0]["result"] *= 2  # something new to learn from
        installation.run("train", until="publish")
        yield installation


@pytest.fixture
def installation(made: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """A copy, as it is after Redis has lost its data."""
    shutil.copytree(made.settings.model_dir, tmp_path / "models", ignore=shutil.ignore_patterns(".tmp-*"))
    with HeldStudio(copy.deepcopy(made.studio.projects)) as studio:
        changes = {
            "model_dir": str(tmp_path / "models"),
            "queue_name": tmp_path.name,
            "label_studio_url": studio.url,
        }
        settings = made.settings.model_copy(update=changes)
        settings.__dict__.pop("artefacts", None)  # it is kept with the settings
        for module in (running, plugin, reconciliation):
            monkeypatch.setattr(module, "get_settings", lambda: settings)
        yield Installation(settings, studio)


def harm(place: Path, way: str) -> None:
    """Damage a file."""
    content = place.read_bytes()
    place.unlink()
    if way == "cut":
        place.write_bytes(content[: len(content) // 2])
    elif way == "emptied":
        place.touch()
    elif way == "other bytes":
        place.write_bytes(bytes(255 - byte for byte in content[: 1 << 16]) or b"\xff")
    elif way == "a directory":
        (place / "x").mkdir(parents=True)
    elif way == "a wrong shape":
        place.write_bytes(b'{"a": [3, null]}' if content[:1] == b"[" else b'[{"a": 3}, "b"]')


# which files, the job that reads them, and whether it is known that one is missing
AT_REST = {
    "published.json": True,
    "versions/serving.json": True,
    "versions/v0002-*/version.json": True,
    "versions/v0002-*/weights.pt": True,
    "versions/v0001-*/weights.pt": True,
    "versions/v0002-*/ranking.json": True,
    "versions/v0002-*/head.json": False,
    "versions/v0002-*/review.json": False,
    "curve/v0002-*.json": False,
    "versions/v0002-*/left_out.json": False,
    "versions/v0002-*/trained_on.json": False,
    "predictions/v0002-*.sqlite": True,
    "pool/*/gathered/store.json": True,
    "pool/*/gathered/index.bin": True,
    "pool/*/gathered/encodings.bin": True,
    "pool/*/gathered/summaries.bin": True,
    "pool/*/gathered/seen.sqlite": True,
    "pool/*/gathered/absorbed.json": False,
    "gain_rows.npz": False,
    "cycle.json": False,
    "published.lock": False,
    "versions/.lock": False,
    "pool/*/gathered.lock": False,
}
IN_A_CYCLE = (
    "key",
    "labeled.json",
    "learned.json",
    "trained.json",
    "trained.pt",
    "images/1",
    "plan.json",
    "data.json",
    "hindsight.pt",
    "hindsight.npz",
    "results/0.json",
    "results/1.json",
    "results/*.table",
    "../*-start/start.pt",
    "*/survey.json",
    "*/order.json",
)
LOCKS = {way for way in WAYS if way != "a directory"}
CASES = [
    (file, way) for file in AT_REST for way in WAYS if not (file.endswith(".lock") and way in LOCKS)
]  # a lock is empty


ALWAYS = {
    ("published.json", "cut"),
    ("versions/v0002-*/weights.pt", "other bytes"),
}
"""What every run of the tests tries; the rest of the cases is left to `make chaos`"""


def ask(installation: Installation) -> dict[str, Any]:
    """Ask every route about both projects; the statuses that are no success."""
    serving._detectors = type(serving._detectors)()
    client = create_app(installation.settings).test_client()
    statuses = {}
    for project in (1, 2):
        body = {"project": f"{project}.1", "label_config": CONFIG, "params": {}}
        for what, image in (("known", 1), ("changed", 2)):
            asked = task(1, project, f"/data/upload/{project}/{image}.png")
            statuses[f"/predict {what} {project}"] = client.post("/predict", json=body | {"tasks": [asked]})
        drawing = {
            "context": {"result": [{"type": "rectanglelabels", "value": {"x": 1, "y": 1, "width": 9, "height": 9}}]}
        }
        inside = body | {"tasks": [task(1, project, f"/data/upload/{project}/1.png")], "params": drawing}
        statuses[f"/predict drawing {project}"] = client.post("/predict", json=inside)
        statuses[f"/setup {project}"] = client.post("/setup", json={"project": f"{project}.1", "schema": CONFIG})
        for action in ("PROJECT_UPDATED", "ANNOTATION_CREATED"):
            statuses[f"/webhook {action} {project}"] = client.post("/webhook", json=event(action, project, 1))
        statuses[f"/api {project}"] = client.get(f"/api/projects/{project}")
    statuses["/versions"] = client.get("/versions")
    versions = statuses["/versions"].get_json()["versions"]
    assert any(name in versions for name in [e.model_version for e in published_of(installation.settings, 2).history()])
    serving._detectors = type(serving._detectors)()
    return {what: answer.get_json() for what, answer in statuses.items() if answer.status_code >= 400}


@pytest.mark.parametrize(
    ("file", "way"), [pytest.param(*case, marks=() if case in ALWAYS else pytest.mark.chaos) for case in CASES]
)
def test_a_damaged_file(installation: Installation, file: str, way: str) -> None:
    settings, studio = installation.settings, installation.studio
    place = Path(settings.model_dir) / "1"
    Jobs(settings).note_end(1)  # no training is to go on
    shutil.rmtree(place / "cycles")
    if file == "cycle.json":
        Jobs(settings).note_begin(1, "rank")
    damaged = max(place.glob(file))
    annotations, predictions = copy.deepcopy(studio.projects[1].annotations), len(studio.projects[1].predictions)
    trained = published_of(settings, 1).current()
    assert trained is not None
    harm(damaged, way)

    lines = [line for line in FilesCheck(settings, 1).damages() if damaged.name in line or str(damaged.parent) in line]
    assert lines or (way == "missing" and not AT_REST[file]) or file.endswith(".lock")
    assert all("\n" not in line and ": " in line for line in lines)
    assert list(FilesCheck(settings, 2).damages()) == []

    assert ask(installation) == {}
    reconciliation.reconcile()
    installation.work()

    first = installation.run("rank")
    if first["status"] != "finished":
        assert damaged.name in first["error"] or str(damaged.parent) in first["error"]
        assert installation.run("rank")["status"] == "finished"
    assert installation.run("rank", 2)["status"] == "finished"
    assert ask(installation) == {}

    live = published_of(settings, 1).current()
    assert live is not None
    fallen_back = file in ("versions/v0002-*/version.json", "versions/v0002-*/weights.pt")
    assert live.version.startswith("v0001" if fallen_back else "v0002")
    assert studio.projects[1].model_version == live.model_version
    assert studio.projects[1].annotations == annotations
    assert len(studio.projects[1].predictions) >= predictions
    assert len(list(place.glob("versions/v*"))) == 3
    if file not in ("versions/v0002-*/version.json", "versions/v0002-*/weights.pt", "versions/v0001-*/weights.pt"):
        left = list(FilesCheck(settings, 1).damages())
        only_said = ("left_out.json", "trained_on.json", "review.json")
        assert [
            line
            for line in left
            if "cycles/" not in line and not file.endswith(only_said) and not file.startswith("curve/")
        ] == []


def test_what_a_training_leaves_for_the_pages(installation: Installation) -> None:
    """Kept with the version: what became of the boxes, from which score on they are shown, and what the labels gave."""
    settings = installation.settings
    store = store_of(settings, 1)
    first, second = trainings(settings.artefacts, 1, store)
    assert (first.images, first.boxes, first.parent) == (LABELED, LABELED, store.list()[0].name)
    assert first.batch is not None
    assert (first.batch.size, first.batch.labeled + first.batch.others) == (TRAINING["budget"], LABELED)
    assert second.parent == first.version
    trained = store.get(first.version)
    assert trained.thresholds == dict.fromkeys(trained.names, USUAL)  # too little is held out to learn them
    rows = {row.task: row for row in read(store).rows}
    assert sorted(rows) == list(installation.studio.projects[1].images)[:LABELED]
    assert {change.kind for row in rows.values() for change in row.changes} == {"added"}  # nothing was shown
    agent = create_app(settings).test_client().get("/api/projects/1/agent").get_json()
    assert {point["kind"] for point in agent["map"]["points"]} == {"labeled", "next batch", "rest"}


@pytest.mark.chaos
@pytest.mark.parametrize(("file", "way"), [(file, way) for file in IN_A_CYCLE for way in WAYS])
def test_a_damaged_file_of_a_cycle(installation: Installation, file: str, way: str) -> None:
    settings, studio = installation.settings, installation.studio
    place = Path(settings.model_dir) / "1"
    (cycle,) = [folder for folder in place.glob("cycles/train-*") if not folder.name.endswith("-start")]
    damaged = max(cycle.glob(file))
    annotations = copy.deepcopy(studio.projects[1].annotations)
    harm(damaged, way)
    assert ask(installation) == {}
    first = installation.run("train")
    if first["status"] != "finished":
        assert damaged.name in first["error"]
        assert installation.run("train")["status"] == "finished"
    assert studio.projects[1].annotations == annotations
    assert len(store_of(settings, 1).list()) >= 3
    assert list(FilesCheck(settings, 1).damages()) == []

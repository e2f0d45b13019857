"""Predictions in a file, and below a URL, where two machines see the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from backend.project.predictions import Predictions
from backend.project.published import Publication, Published
from model import artefacts
from model.artefacts import Artefacts
from model.damage import DamagedError
from tests.model.made import contents
from tests.s3 import place

BOX = [{"x": 1}]
NAME = "v1-r001"


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each machine sees at once what the other one wrote."""
    monkeypatch.setattr(artefacts, "KEPT_SECONDS", 0.0)


@pytest.fixture(params=["file", "memory"])
def machines(request: pytest.FixtureRequest, tmp_path: Path) -> list[Published]:
    """One project, on a machine that works and on one that answers."""
    url = place(request.param, tmp_path)
    files = [Artefacts(url, tmp_path / name) for name in ("work", "serve")]
    return [Published(one.local / "7", one) for one in files]


def test_what_a_worker_puts_the_backend_gives(machines: list[Published]) -> None:
    worker, backend = (published.predictions(NAME) for published in machines)
    assert backend.get([1]) == {}
    worker.put([(1, "a.jpg", 1.0, BOX), (2, "b.jpg", 1.0, []), (3, "c.jpg", 1.0, [])])
    assert backend.get([1, 9]) == {1: ("a.jpg", 1.0, BOX)}
    worker.put([(4, "d.jpg", 0.5, []), (2, "b2.jpg", 1.0, [])])  # a late task, and one whose image was changed
    assert backend.get([2, 4]) == {2: ("b2.jpg", 1.0, []), 4: ("d.jpg", 0.5, [])}
    worker.rescore([(3, 0.1), (1, 0.2), (9, 0.3)])
    for one in (worker, backend):
        assert list(one) == [(3, 0.1, []), (1, 0.2, BOX), (4, 0.5, []), (2, 1.0, [])]
        assert next(one.rows()) == (3, "c.jpg", 0.1, [])
        assert len(one) == 4


def test_what_is_predicted_at_once_stays_here(machines: list[Published]) -> None:
    worker, backend = (published.predictions(NAME) for published in machines)
    backend.put([(1, "a.jpg", 0.5, BOX)], share=False)
    assert backend.get([1]) == {1: ("a.jpg", 0.5, BOX)}
    assert worker.get([1]) == {}
    worker.put([(1, "a.jpg", 0.1, BOX)])
    assert backend.get([1]) == {1: ("a.jpg", 0.1, BOX)}  # its place in the order


def test_what_is_made_anew_under_a_name_does_not_mix(machines: list[Published]) -> None:
    worker, backend = machines
    worker.predictions(NAME).put([(1, "a.jpg", 0.5, BOX), (2, "b.jpg", 0.6, BOX)])
    assert len(backend.predictions(NAME)) == 2
    worker.predictions(NAME).delete()
    assert worker.predictions(NAME).get([1]) == backend.predictions(NAME).get([1]) == {}
    worker.predictions(NAME).put([(2, "b.jpg", 0.7, [])])
    assert list(backend.predictions(NAME)) == list(worker.predictions(NAME)) == [(2, 0.7, [])]


def test_publications_are_seen_and_forgotten_everywhere(machines: list[Published]) -> None:
    worker, backend = machines
    assert backend.current() is None
    for name in ("v1-r001", "v1-r002"):
        worker.predictions(name).put([(1, "a.jpg", 0.5, [])])
        worker.publish(Publication(name, "v1", "entropy", 0))
        assert backend.current() == worker.current() == Publication(name, "v1", "entropy", 0)
        assert len(backend.predictions(name)) == 1
    worker.forget(["v1-r001"])
    assert [entry.model_version for entry in backend.history()] == ["v1-r002"]
    assert len(backend.predictions("v1-r001")) == 0
    assert backend.next_name("v1") == "v1-r003"
    worker.predictions("v1-r003").put([(1, "a.jpg", 0.5, [])])
    worker.publish(Publication("v1-r003", "v1", "entropy", 0))
    assert len(backend.predictions("v1-r003")) == 1  # and room is made for it
    assert not [name for name in contents(backend.directory) if "r001" in name]


NO_DATABASE = b"no database at all, but long enough to have a header of one.........".ljust(200, b".")


def read_all(predictions: Predictions) -> None:
    """As a ranking does: first whether the file is whole, then every row."""
    predictions.check()
    list(predictions.rows())


def damaged(file: Path, how: str) -> None:
    """Damage a file of predictions."""
    if how == "other bytes":
        file.write_bytes(NO_DATABASE)
    elif how == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif how == "a page":
        file.write_bytes(file.read_bytes()[:4096] + b"\x99" * (file.stat().st_size - 4096))
    elif how == "a directory":
        file.unlink()
        (file / "x").mkdir(parents=True)
    elif how == "another table":
        file.unlink()
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("CREATE TABLE prediction (number INTEGER PRIMARY KEY)")
    else:
        with closing(sqlite3.connect(file)) as database, database:
            database.execute("UPDATE prediction SET result = ?", (how,))


@pytest.mark.parametrize("how", ["other bytes", "cut", "a page", "a directory", "another table", "3", "[", "null"])
def test_a_damaged_file_is_deleted_by_who_meets_it_and_made_anew(tmp_path: Path, how: str) -> None:
    predictions = Predictions(tmp_path / "one.sqlite")
    predictions.put([(task, "a.jpg", 0.5, BOX * 20) for task in range(500)])
    damaged(predictions.file, how)
    with pytest.raises(
        DamagedError, match=r"one\.sqlite is damaged .*: it is deleted, and the predictions are made anew"
    ):
        read_all(predictions)
    assert not predictions.file.exists()
    assert (len(predictions), predictions.get([1])) == (0, {})
    predictions.put([(1, "a.jpg", 0.5, BOX)])
    predictions.check()


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    """Of a process that was killed."""
    (tmp_path / "one.sqlite").write_bytes(b"")
    predictions = Predictions(tmp_path / "one.sqlite")
    assert (len(predictions), list(predictions), predictions.get([1])) == (0, [], {})


def test_a_damaged_part_costs_what_was_in_it(machines: list[Published]) -> None:
    worker, backend = (published.predictions(NAME) for published in machines)
    worker.put([(1, "a.jpg", 0.5, BOX)])
    (first,) = worker.artefacts.names(worker.name)  # type: ignore[union-attr]
    worker.put([(2, "b.jpg", 0.5, BOX)])
    worker.artefacts._remote.write(f"{worker.name}/{first}", NO_DATABASE)  # type: ignore[union-attr]
    assert list(backend.get([1, 2])) == [2]
    assert list(backend.get([1, 2])) == [2]


def test_a_file_that_is_locked_is_not_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = Predictions(tmp_path / "one.sqlite")
    predictions.put([(1, "a.jpg", 0.5, BOX)])
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda file, **_: connect(file, timeout=0))
    with closing(connect(predictions.file)) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            predictions.get([1])
    assert len(predictions) == 1

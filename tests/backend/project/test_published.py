import json
from pathlib import Path

import numpy as np
import pytest

from agent.strategies import Ranking
from backend.project.publish import scores
from backend.project.published import Publication, Published
from model.detectors.open import open_detector
from model.versions import VersionStore


def entry(name: str, version: str = "v1") -> Publication:
    return Publication(name, version, "entropy", 3)


def test_the_newest_publication_is_live_and_names_count_up(tmp_path: Path) -> None:
    published = Published(tmp_path)
    assert published.current() is None
    assert published.next_name("v1") == "v1-r001"
    published.publish(entry("v1-r001"))
    published.publish(entry(published.next_name("v1")))
    published.publish(entry(published.next_name("v2"), "v2"))
    assert [e.model_version for e in published.history()] == ["v1-r001", "v1-r002", "v2-r001"]
    assert published.of_version("v1").model_version == "v1-r002"  # type: ignore[union-attr]


def test_going_back_makes_an_old_publication_the_live_one(tmp_path: Path) -> None:
    published = Published(tmp_path)
    for name in ("v1-r001", "v2-r001", "v1-r001"):
        published.publish(entry(name, name[:2]))
    assert [e.model_version for e in published.history()] == ["v2-r001", "v1-r001"]


@pytest.mark.parametrize(
    "damage", ["", "[{", "{}x", '[{"model_version": "v1-r001"}]', "[1]", "3", "null", "a directory"]
)
def test_a_damaged_file_is_told_and_written_anew(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "published.json"
    file.mkdir() if damage == "a directory" else file.write_text(damage)
    assert Published(tmp_path).current() is None
    assert f"{file} is damaged" in caplog.text
    Published(tmp_path).publish(entry("v1-r001"))
    assert Published(tmp_path).history() == [entry("v1-r001")]


@pytest.mark.parametrize("damage", ["[{", "[]", None])
def test_what_was_live_is_read_from_the_rankings(tmp_path: Path, damage: str | None) -> None:
    published, store = Published(tmp_path), VersionStore(tmp_path / "versions")
    made = [store.add_first(open_detector("starter"), {}).name for _ in range(3)]
    for number, name in enumerate(made):
        about = {"model_version": f"{name}-r002", "strategy": "entropy", "order": [], "annotations": number}
        store.write(name, "ranking.json", json.dumps(about).encode())
        published.publish(Publication(f"{name}-r002", name, "entropy", number))
    store.roll_back()
    published.publish(Publication(f"{made[1]}-r002", made[1], "entropy", 1))
    live = published.current()
    (tmp_path / "published.json").unlink()
    if damage is not None:
        (tmp_path / "published.json").write_text(damage)
    assert published.current() == live
    assert len(published.history()) == 3
    assert published.next_name(made[0]) == f"{made[0]}-r003"
    assert published.mend()
    assert not published.mend()
    assert published.read()[-1] == live


def test_forgetting_drops_the_predictions_too(tmp_path: Path) -> None:
    published = Published(tmp_path)
    published.publish(entry("v1-r001"))
    published.predictions("v1-r001").put([(1, "a.jpg", 0.5, [])])
    published.forget(["v1-r001"])
    assert published.current() is None
    assert len(published.predictions("v1-r001")) == 0


def test_predictions_are_kept_replaced_and_given_in_order(tmp_path: Path) -> None:
    predictions = Published(tmp_path).predictions("v1-r001")
    assert predictions.get([1]) == {}
    predictions.put([(1, "a.jpg", 1.0, [{"x": 1}]), (2, "b.jpg", 1.0, []), (3, "c.jpg", 1.0, [])])
    predictions.put([(2, "b2.jpg", 1.0, [])])
    predictions.rescore([(3, 0.1), (1, 0.2)])
    assert list(predictions) == [(3, 0.1, []), (1, 0.2, [{"x": 1}]), (2, 1.0, [])]
    assert predictions.get([2, 9]) == {2: ("b2.jpg", 1.0, [])}


def test_scores_rise_strictly_along_the_order_inside_zero_and_one() -> None:
    ranking = Ranking("entropy", 2, np.array([7, 5, 9]), np.zeros(3), ("a", "b", "c"))
    made = scores(ranking)
    assert [task for task, _ in made] == [7, 5, 9]
    values = [score for _, score in made]
    assert values == sorted(set(values))
    assert 0 < values[0] < values[-1] < 1

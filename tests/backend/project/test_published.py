from pathlib import Path

import numpy as np

from agent.strategies import Ranking
from backend.project.publish import scores
from backend.project.published import Publication, Published


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

"""What annotators did with the boxes: by the ids that Label Studio keeps, by where boxes lie, across publications."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from backend.label_studio.client import Task
from backend.label_studio.labels import LabelConfig, region
from backend.project.publish import LABELED
from backend.project.published import Publication, Published
from backend.project.review.changes import Change, Drawn, compare, counted
from backend.project.review.reviews import FILE, Review, Reviews, read, reviewed
from bench.pages import Saved
from model.versions import VersionStore
from tests.backend.web.requests import CONFIG

LABELS = LabelConfig.parse(CONFIG)  # Car and Bus


def one(name: str, x: float, label: str, y: float = 10) -> dict[str, Any]:
    """A box of 20 x 20 percent."""
    return region(name, "label", "image", (200, 100), (2 * x, y, 2 * x + 40, y + 20), label)


SHOWN = [one("a", 0, "Car"), one("b", 30, "Car"), one("c", 60, "Bus"), one("d", 0, "Bus", 70)]
CORRECTED = [one("a", 0, "Car"), one("b", 36, "Car"), one("c", 60, "Car"), one("new", 60, "Bus", 70)]


def of(result: Any) -> Drawn:
    return Drawn.of(result, LABELS)


def test_every_kind_by_the_ids_of_regions() -> None:
    changes = compare(of(SHOWN), of(CORRECTED))
    assert changes == {
        Change("kept", "Car", "Car"): 1,
        Change("moved", "Car", "Car"): 1,
        Change("relabeled", "Bus", "Car"): 1,
        Change("deleted", "Bus", ""): 1,
        Change("added", "Bus", "Bus"): 1,
    }
    assert counted(changes)["Bus"] == {"kept": 0, "moved": 0, "relabeled": 1, "deleted": 1, "added": 1}


def test_a_box_that_was_moved_far_is_still_the_same() -> None:
    assert compare(of([one("a", 0, "Car")]), of([one("a", 75, "Car")])) == {Change("moved", "Car", "Car"): 1}


def test_without_ids_boxes_are_matched_by_where_they_lie() -> None:
    anew = [{key: value for key, value in box.items() if key != "id"} for box in CORRECTED]
    assert compare(of(SHOWN), of(anew)) == compare(of(SHOWN), of(CORRECTED))
    far = [one("x", 12, "Car")]  # overlaps by a quarter
    assert compare(of([one("a", 0, "Car")]), of(far)) == {
        Change("deleted", "Car", ""): 1,
        Change("added", "Car", "Car"): 1,
    }
    two = [one("x", 2, "Bus"), one("y", 2, "Car")]  # of equal overlap, that of the label
    assert compare(of([one("a", 0, "Car")]), of(two))[Change("added", "Bus", "Bus")] == 1


def test_what_cannot_be_read_is_passed_over() -> None:
    odd: list[Any] = [{"type": "rectanglelabels"}, None, one("e", 0, "Gone"), {"type": "choices", "value": {}}]
    assert compare(of([]), of([*odd, one("f", 0, "Car")])) == {Change("added", "Car", "Car"): 1}
    assert compare(of(None), of("text")) == {}
    assert compare(of(SHOWN), of([])) == {Change("deleted", "Car", ""): 2, Change("deleted", "Bus", ""): 2}


def annotation(result: list[dict], created: str = "2026-11-20T10:00:00.5Z", number: int = 7) -> dict[str, Any]:
    return {"id": number, "result": result, "created_at": created, "updated_at": created, "lead_time": 12.5}


def publish(published: Published, name: str, when: str, boxes: dict[int, tuple[float, list[dict]]]) -> None:
    published.predictions(name).put((task, "a.png", score, result) for task, (score, result) in boxes.items())
    published.publish(Publication(name, name[:2], "entropy", 0, ranked=when))


def test_the_publication_whose_regions_the_annotation_has(tmp_path: Path) -> None:
    published = Published(tmp_path)
    publish(
        published,
        "v1-r001",
        "2026-11-20T08:00:00+00:00",
        {1: (0.2, [one("a", 0, "Car")]), 2: (0.5, [one("z", 0, "Car")])},
    )
    publish(
        published,
        "v2-r001",
        "2026-11-20T09:00:00+00:00",
        {1: (0.2, [one("b", 0, "Bus")]), 2: (0.5, [one("y", 0, "Bus")])},
    )
    publish(published, "v3-r001", "2026-11-20T11:00:00+00:00", {1: (LABELED, [one("q", 0, "Car")]), 2: (0.5, [])})
    tasks = [
        (Task(1, {}), annotation([one("a", 0, "Bus")])),  # opened before v2 went live
        (Task(2, {}), annotation([])),  # everything deleted: what was live
        (Task(3, {}), annotation([one("k", 0, "Car")])),  # it had no box: nobody was shown any
    ]
    found = reviewed(tasks, published, LABELS, Reviews())
    assert [(row.task, row.model_version, row.by_id) for row in found.rows] == [
        (1, "v1-r001", True),
        (2, "v2-r001", False),
    ]
    assert found.rows[0].changes == {Change("relabeled", "Car", "Bus"): 1}
    assert (found.rows[1].corrections, found.rows[1].seconds) == (1, 12.5)


@pytest.mark.parametrize("wrong", [10**400, math.nan, -5, True, "12", None], ids=lambda wrong: repr(wrong)[:9])
def test_a_time_that_cannot_be_true_is_none(tmp_path: Path, wrong: Any) -> None:
    published = Published(tmp_path)
    publish(published, "v1-r001", "", {1: (0.2, [one("a", 0, "Car")])})
    told = annotation([one("a", 0, "Car")]) | {"lead_time": wrong}
    (row,) = reviewed([(Task(1, {}), told)], published, LABELS, Reviews()).rows
    assert row.seconds is None


def test_what_was_found_stays_until_the_annotation_is_changed(tmp_path: Path) -> None:
    store, published = VersionStore(tmp_path / "versions"), Published(tmp_path)
    assert read(store).rows == []
    publish(published, "v1-r001", "", {1: (0.2, [one("a", 0, "Car")])})
    first = reviewed([(Task(1, {}), annotation([one("a", 0, "Car")]))], published, LABELS, Reviews())
    version = store.add_first(Saved(("Car",)), {})  # type: ignore[arg-type]  # no detector is needed
    store.write(version.name, FILE, first.to_json())
    published.forget(["v1-r001"])
    kept = read(store)
    assert kept.rows == first.rows
    assert read(store) is kept  # pages ask often
    again = [(Task(1, {}), annotation([one("a", 0, "Bus")], created="2026-11-21T10:00:00Z"))]
    assert reviewed(again, published, LABELS, kept).rows == kept.rows  # nothing is left to compare it with
    publish(published, "v1-r002", "", {1: (0.2, [one("a", 0, "Car")])})
    changed = reviewed(again, published, LABELS, kept).rows
    assert [row.changes for row in changed] == [{Change("relabeled", "Car", "Bus"): 1}]
    assert Review.of_json(changed[0].to_json()) == changed[0]
    (store.root / version.name / FILE).write_text("{")
    assert read(store).rows == []  # with a warning

"""What versions found is kept whole, and any two of them are compared on what they have in common."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agent.holdout import Holdout, with_other, with_parent
from agent.match_table import MatchTable
from bench.pages import holdout
from model.data.dataset import Dataset


@pytest.fixture(scope="module")
def held() -> Holdout:
    """The second one's boxes lie further off."""
    return holdout(images=40, classes=4)


def part(held: Holdout, places: slice) -> Holdout:
    images = held.dataset.images[places]
    return Holdout(Dataset(images, held.dataset.names), held.found[places], held.before[places])


def test_it_is_read_as_it_was_written(held: Holdout) -> None:
    again = Holdout.of_bytes(held.to_bytes())
    for of, boxes in ((held.found, again.found), (held.before, again.before)):
        table, same = (MatchTable.from_dataset(data, one) for data, one in ((held.dataset, of), (again.dataset, boxes)))
        assert table.fingerprint == same.fingerprint
    assert (again.dataset.names, len(again.dataset)) == (held.dataset.names, 40)


def test_against_its_parent_a_version_has_the_interval_that_decided_its_promotion(held: Holdout) -> None:
    compared = with_parent(Holdout.of_bytes(held.to_bytes()))
    assert compared is not None
    ours, theirs = (MatchTable.from_dataset(held.dataset, boxes) for boxes in (held.found, held.before))
    decided = ours.delta(theirs, rng=0)
    assert compared.delta.map == decided.map
    assert compared.map == (ours.evaluate().map, theirs.evaluate().map)
    assert compared.delta.better


def test_two_versions_are_compared_on_what_both_held_out_and_nobody_changed(held: Holdout) -> None:
    first, second = part(held, slice(0, 30)), part(held, slice(10, 40))
    moved = replace(second.dataset.images[0], xyxy=second.dataset.images[0].xyxy + 1)  # annotated anew
    second = Holdout(Dataset((moved, *second.dataset.images[1:]), second.dataset.names), second.before, second.before)
    compared = with_other(first, second)
    common = part(held, slice(11, 30))
    expected = with_parent(common)
    assert compared is not None
    assert expected is not None
    assert (compared.images, compared.delta.map) == (19, expected.delta.map)
    assert not compared.enough  # of 19 images
    assert expected.delta.better  # though the interval says so
    assert with_other(part(held, slice(0, 5)), part(held, slice(5, 9))) is None


def test_classes_are_told_apart_by_their_names(held: Holdout) -> None:
    """A label was added in the middle meanwhile, so that the others have other numbers."""
    names = (held.dataset.names[0], "new", *held.dataset.names[1:])
    moved = np.array([0, 2, 3, 4])
    images = tuple(replace(image, class_ids=moved[image.class_ids]) for image in held.dataset.images)
    found = [replace(boxes, class_ids=moved[boxes.class_ids]) for boxes in held.before]
    compared, same = with_other(held, Holdout(Dataset(images, names), found, [])), with_parent(held)
    assert compared is not None
    assert same is not None
    assert (compared.images, compared.map) == (len(held.dataset), same.map)
    assert compared.ours == same.ours | {"new": -1.0}
    assert compared.theirs == same.theirs | {"new": -1.0}


def test_a_class_is_told_by_the_images_that_show_it(held: Holdout) -> None:
    """Every resample of one image is the same, and its interval has no width."""
    first, *others = held.dataset.images
    rest = [replace(image, class_ids=np.maximum(image.class_ids, 1)) for image in others]
    lone = replace(first, class_ids=np.zeros_like(first.class_ids))
    dataset = Dataset((lone, *rest), held.dataset.names)
    compared = with_parent(replace(held, dataset=dataset))
    assert compared is not None
    assert compared.enough
    assert compared.shown[dataset.names[0]] == 1
    assert compared.shown[dataset.names[1]] > 10
    assert [compared.enough_of(name) for name in dataset.names[:2]] == [False, True]
    few = with_parent(part(replace(held, dataset=dataset), slice(0, 19)))
    assert few is not None
    assert not few.enough_of(dataset.names[1])

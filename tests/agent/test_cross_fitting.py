"""Every labeled image is judged by detectors that never saw it, and versions are compared by these."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agent import cross_fitting
from agent.cross_fitting import FILE, CrossFitting, CrossFittingError, group_of, sentence, why_not, word
from agent.holdout import Holdout, with_parent
from agent.learning import TRAINED, learn
from agent.learning import train as really_train
from agent.match_table import MatchTable
from bench.pages import holdout
from model.data.dataset import Dataset, in_holdout
from model.detectors.base import Detector, FitConfig
from model.evaluate import Metrics, detect
from model.progress import Interrupted, Report
from model.synthetic.scenes import write_scenes
from model.versions import Version, VersionStore
from tests.model.made import new, same, state

FIT = FitConfig(epochs=1, min_steps=2, image_size=64, batch=8)


def quiet(stage: str, done: int, total: int, **_: float) -> None:
    """A watch that nobody reads."""


class Trainings:
    """What is trained, on what and from what."""

    def __init__(self) -> None:
        self.done: list[tuple[str, set[int], Detector]] = []

    def __call__(
        self, folder: Path, start: Detector, data: Dataset, fit: FitConfig, report: Report
    ) -> tuple[Detector, float]:
        trained = really_train(folder, start, data, fit, report)
        self.done.append((folder.name, {image.id for image in data.images}, start))
        return trained


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> Trainings:
    trainings = Trainings()
    monkeypatch.setattr(cross_fitting, "train", trainings)
    return trainings


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_scenes(tmp_path_factory.mktemp("scenes"), 24, seed=3)


@pytest.fixture
def store(tmp_path: Path, scenes: Dataset) -> VersionStore:
    """What a project starts from, and two versions: of sixteen labeled images, and of all."""
    store = VersionStore(tmp_path / "versions")
    detector: Detector = new("tiny-retinanet", scenes.names)
    before = store.add_first(detector, {name: name for name in detector.names})
    for number, labeled in enumerate((Dataset(scenes.images[:16], scenes.names), scenes)):
        folder = tmp_path / f"cycle-{number}"
        folder.mkdir()
        learned = learn(folder, store, before, detector, labeled, FIT, quiet)
        before, detector = learned.version, learned.detector
    return store


@pytest.fixture
def fitting(tmp_path: Path, store: VersionStore) -> CrossFitting:
    return CrossFitting(tmp_path / "doubles", store, FIT, quiet)


def test_the_groups_are_the_holdout_and_two_halves_of_the_rest() -> None:
    groups = np.array([group_of(number) for number in range(1, 10_001)])
    assert [number for number in range(1, 10_001) if in_holdout(number)] == (np.flatnonzero(groups == 0) + 1).tolist()
    np.testing.assert_allclose(np.bincount(groups) / len(groups), [0.2, 0.4, 0.4], atol=0.02)


def test_no_detector_judges_an_image_that_it_or_an_ancestor_of_it_learned_from(
    store: VersionStore, fitting: CrossFitting, scenes: Dataset, trainings: Trainings
) -> None:
    first, second, third = store.list()
    result = fitting.compare(third, scenes)
    names = [f"{version.name}-{group}" for group in (1, 2) for version in (second, third)]
    assert [name for name, _, _ in trainings.done] == names
    first16 = {image.id for image in scenes.images[:16]}
    for name, learned, _ in trainings.done:
        group = int(name[-1])
        known = first16 if name.startswith(second.name) else {image.id for image in scenes.images}
        assert learned == {image for image in known if group_of(image) != group}
    doubles = [start for name, _, start in trainings.done if name.startswith(third.name)]
    roots = [start for name, _, start in trainings.done if name.startswith(second.name)]
    assert all(same(state(start), state(open_of(first))) for start in roots)
    assert not any(same(state(start), state(roots[0])) for start in doubles)  # a double of the parent
    assert [image.id for image in result.dataset.images] == [image.id for image in scenes.images]
    held = Dataset(tuple(image for image in scenes.images if group_of(image.id) == 0), scenes.names)
    itself = dict(zip((i.id for i in held.images), detect(open_of(third), held), strict=True))
    for image, found in zip(scenes.images, result.found, strict=True):
        if image.id in itself:  # nobody trains on the holdout
            np.testing.assert_array_equal(found.xyxy, itself[image.id].xyxy)


def open_of(version: Version) -> Detector:
    return cross_fitting.open_detector(version.weights)


def test_what_was_trained_is_not_trained_again(
    tmp_path: Path, store: VersionStore, fitting: CrossFitting, scenes: Dataset, trainings: Trainings
) -> None:
    _, second, third = store.list()
    fitting.compare(second, Dataset(scenes.images[:16], scenes.names))
    assert len(trainings.done) == 2
    first = fitting.compare(third, scenes)
    assert len(trainings.done) == 4
    again = CrossFitting(tmp_path / "another machine", store, FIT, quiet).compare(third, scenes)
    assert len(trainings.done) == 4
    kept = Holdout.of_bytes(store.read(third.name, FILE))
    tables = [MatchTable.from_dataset(scenes, one.found).fingerprint for one in (first, again, kept)]
    assert len(set(tables)) == 1


def test_a_damaged_double_is_trained_once_more(
    store: VersionStore, fitting: CrossFitting, scenes: Dataset, trainings: Trainings
) -> None:
    second = store.list()[1]
    labeled = Dataset(scenes.images[:16], scenes.names)
    fitting.compare(second, labeled)
    (second.path / "without_2.pt").write_bytes(b"cut")
    fitting.compare(second, labeled)
    assert [name for name, _, _ in trainings.done] == [f"{second.name}-{group}" for group in (1, 2, 2)]
    assert not list(fitting.folder.rglob("*.pt"))  # the version has them


def test_a_damaged_holdout_costs_the_doubles_its_images(
    store: VersionStore, fitting: CrossFitting, scenes: Dataset, trainings: Trainings
) -> None:
    second = store.list()[1]
    (second.path / "holdout.npz").write_bytes(b"cut")
    fitting.compare(second, Dataset(scenes.images[:16], scenes.names))
    assert not any(in_holdout(image) for _, learned, _ in trainings.done for image in learned)


def test_an_interrupted_training_goes_on(
    tmp_path: Path, store: VersionStore, scenes: Dataset, trainings: Trainings
) -> None:
    second = store.list()[1]
    labeled = Dataset(scenes.images[:16], scenes.names)

    def stop(stage: str, *_: int, **__: float) -> None:
        if stage == cross_fitting.STAGE and len(trainings.done) == 1:
            raise Interrupted

    with pytest.raises(Interrupted):
        CrossFitting(tmp_path / "doubles", store, FIT, stop).compare(second, labeled)
    kept = {str(file.relative_to(tmp_path / "doubles")) for file in (tmp_path / "doubles").rglob("*.pt")}
    assert kept == {f"{second.name}-2/checkpoint.pt"}
    CrossFitting(tmp_path / "doubles", store, FIT, quiet).compare(second, labeled)
    assert [name for name, _, _ in trainings.done] == [f"{second.name}-1", f"{second.name}-2"]
    assert TRAINED not in {file.name for file in (tmp_path / "doubles").rglob("*")}  # it is stored with the version


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda store: shutil.rmtree(store.list()[1].path), "was deleted"),
        (lambda store: (store.list()[1].path / "trained_on.json").unlink(), "not known what"),
    ],
    ids=["an ancestor is gone", "nobody knows what it learned from"],
)
def test_what_cannot_be_judged_is_said(
    store: VersionStore,
    fitting: CrossFitting,
    scenes: Dataset,
    harm: Callable[[VersionStore], object],
    message: str,
) -> None:
    third, first = store.list()[2], store.list()[0]
    harm(store)
    with pytest.raises(CrossFittingError, match=message):
        fitting.compare(third, scenes)
    with pytest.raises(CrossFittingError, match="learned from no label"):
        fitting.compare(first, scenes)


def test_it_is_done_where_the_holdout_is_too_small_and_the_labels_are_not(scenes: Dataset) -> None:
    def metrics(images: int, boxes: int) -> Metrics:
        return Metrics(0.3, 0.3, 0.3, {}, images, boxes)

    assert scenes.boxes >= 50
    assert not why_not(None, scenes)
    assert not why_not(metrics(19, 100), scenes)
    assert not why_not(metrics(30, 49), scenes)
    assert "the holdout tells" in why_not(metrics(20, 50), scenes)
    assert "too few" in why_not(metrics(4, 10), Dataset(scenes.images[:19], scenes.names))


def test_the_verdict_is_that_of_the_match_tables(store: VersionStore) -> None:
    held, version = holdout(images=40, classes=4), store.list()[1]
    ours, theirs = (MatchTable.from_dataset(held.dataset, boxes) for boxes in (held.found, held.before))
    delta = ours.delta(theirs, rng=0).map
    compared = with_parent(held)
    assert compared is not None
    said = sentence(compared, version)
    assert word(compared) == "better"
    assert delta.low > 0
    assert said.startswith(f"{version.name} is better than {version.parent}: mAP {ours.evaluate().map:.3f}")
    assert f"{delta.value:+.3f}, 95 % [{delta.low:+.3f}, {delta.high:+.3f}]" in said
    turned = with_parent(Holdout(held.dataset, held.before, held.found))
    alike = with_parent(Holdout(held.dataset, held.found, held.found))
    assert turned is not None
    assert alike is not None
    assert (word(turned), word(alike)) == ("worse", "undecided")
    assert "is worse than" in sentence(turned, version)
    assert "is not surely better or worse than" in sentence(alike, version)

"""One cycle with a real detector on procedural scenes: what is learned, what is promoted, what is ordered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent import learning
from agent.cycle import COLD, Cycle, CycleConfig, rank
from agent.gain.rows import Rows
from agent.inner_loop.plan import Plan, SurrogateConfig
from agent.inner_loop.planning import PlanConfig
from agent.learning import decide, learn
from agent.match.scores import Delta, Estimate
from agent.pool.images import DatasetImages
from agent.pool.pool import Pool
from agent.pool.store import Encoder, PoolStore
from agent.strategies.mgral import BASELINES
from model.data.dataset import Dataset, LabeledImage
from model.data.detections import Detections
from model.detectors.base import Detector, FitConfig, Picture, TrainingError
from model.detectors.network import NetworkDetector
from model.detectors.yolo import YoloDetector
from model.evaluate import Metrics, detect
from model.progress import Interrupted, Watch, silent
from model.synthetic.scenes import write_scenes
from model.thresholds import USUAL, Costs, learn_thresholds
from model.versions import VersionStore
from tests.agent.pools import scan
from tests.model.made import new, same, state

SIZE = 64


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_scenes(tmp_path_factory.mktemp("scenes"), 14, seed=3)


@pytest.fixture
def detector(scenes: Dataset) -> Detector:
    return new("tiny-retinanet", scenes.names)


def start(tmp_path: Path, detector: Detector) -> VersionStore:
    store = VersionStore(tmp_path / "versions")
    same = {name: name for name in detector.names}
    first = store.add(detector, metrics=None, label_map=same, fingerprint="", parent=None, images=0)
    store.promote(first.name)
    return store


def folder_of(tmp_path: Path) -> Path:
    """Where a cycle's files are."""
    folder = tmp_path / "cycle"
    folder.mkdir()
    return folder


def watch(seen: list) -> Watch:
    return lambda stage, done, total, **_: seen.append((stage, done, total))


QUICK = CycleConfig(fit=FitConfig(epochs=1, min_steps=2, image_size=SIZE, batch=8), strategy="entropy", budget=4)


def metrics(value: float, images: int = 20, boxes: int = 50) -> Metrics:
    return Metrics(value, value, value, {}, images, boxes)


def difference(value: float, error: float) -> Delta:
    estimate = Estimate(value, error, value - 2 * error, value + 2 * error)
    return Delta(estimate, estimate, estimate, {}, 0.95)


@pytest.mark.parametrize(
    ("new", "serving", "error", "promoted", "said"),
    [
        (0.4, 0.3, 0.01, True, "promoted, better"),
        (0.4, 0.3, 0.1, True, "not surely better"),
        (0.3, 0.3, 0.1, True, "not surely better"),
        (0.2, 0.3, 0.01, False, "because it is worse:"),
        (0.2, 0.3, 0.1, False, "worse, if not surely"),
    ],
)
def test_a_worse_model_is_kept_but_not_promoted(
    new: float, serving: float, error: float, promoted: bool, said: str
) -> None:
    decision, reason = decide(metrics(new), metrics(serving), difference(new - serving, error))
    assert decision is promoted
    assert said in reason
    assert f"{new:.3f}" in reason


@pytest.mark.parametrize(("images", "boxes"), [(1, 80), (19, 80), (200, 49)])
@pytest.mark.parametrize("new", [0.2, 0.4])
def test_on_a_small_holdout_nothing_is_sure(new: float, images: int, boxes: int) -> None:
    """Of one image every resample is the same, so that the interval has no width."""
    decision, reason = decide(metrics(new, images, boxes), metrics(0.3, images, boxes), difference(new - 0.3, 0.0))
    assert decision is (new > 0.3)
    assert ("not surely better" if decision else "worse, if not surely") in reason
    assert "20 images and 50 boxes are needed to be sure" in reason
    assert "95 %" not in reason  # of one image it would have no width


@pytest.mark.parametrize(("new", "error"), [(float("nan"), 0.1), (float("inf"), 0.1), (0.3, float("nan"))])
def test_what_is_no_number_is_not_promoted(new: float, error: float) -> None:
    value = new - 0.3 if error == 0.1 else error
    decision, reason = decide(metrics(new), metrics(0.3), difference(value, 0.1))
    assert not decision
    assert "no number" in reason
    assert not decide(metrics(float("nan")), None, None)[0]


def test_without_a_holdout_it_is_promoted_and_that_is_said() -> None:
    decision, reason = decide(None, None, None)
    assert decision
    assert "without comparison" in reason


def test_learning_stores_a_version_with_what_it_saw(tmp_path: Path, scenes: Dataset, detector: Detector) -> None:
    store = start(tmp_path, detector)
    seen: list = []
    learned = learn(folder_of(tmp_path), store, store.list()[0], detector, scenes, QUICK.fit, watch(seen))
    assert learned.version.parent == store.list()[0].name
    assert learned.version.fingerprint == scenes.fingerprint()
    assert learned.version.images == len(scenes)
    assert learned.metrics is not None
    assert learned.before is not None
    assert learned.metrics.images == len(scenes.holdout()[1])
    assert (learned.metrics.map_interval, learned.metrics.class_intervals) == (None, None)  # three images tell none
    assert store.serving().name == store.list()[0].name  # type: ignore[union-attr]  # promoting is the publisher's
    assert {step for step, _, _ in seen} == {"train", "evaluate", "evaluate the serving model"}


def test_thresholds_and_the_error_of_a_gain_are_learned_where_enough_is_held_out(
    tmp_path: Path, scenes: Dataset, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, costs = start(tmp_path, detector), Costs(delete=1e-3, draw=1e3)
    folder, serving = folder_of(tmp_path), store.list()[0]
    few = learn(folder, store, serving, detector, scenes, QUICK.fit, watch([]), costs=costs)
    assert few.version.thresholds == dict.fromkeys(scenes.names, USUAL)
    assert few.gain is not None
    assert few.error is None  # and so batches are not measured, however narrow the bootstrap says its interval is
    monkeypatch.setattr(learning, "FEWEST_IMAGES", 1)
    monkeypatch.setattr(learning, "FEWEST_BOXES", 1)
    (folder / learning.KEPT).unlink()  # the training is scored again
    learned = learn(folder, store, serving, detector, scenes, QUICK.fit, watch([]), costs=costs)
    _, holdout = scenes.holdout()
    assert learned.version.thresholds == learn_thresholds(holdout, detect(learned.detector, holdout), costs)
    assert store.get(learned.version.name).thresholds == learned.version.thresholds
    assert learned.gain is not None
    assert learned.error == learned.gain[1]
    assert learned.metrics is not None
    assert learned.metrics.map_interval is not None
    assert learned.metrics.class_intervals == {}  # of each class fewer than ten images


def test_a_ruined_training_does_not_get_promoted(tmp_path: Path, scenes: Dataset) -> None:
    """The serving detector is right about the holdout by construction: it answers with the true boxes."""

    class Oracle(YoloDetector):
        def scan(
            self, pictures: Iterable[Picture], *, batch: int = 16, threshold: float = 0.001
        ) -> Iterator[tuple[Detections, np.ndarray]]:
            truth = {image.path: image for image in scenes.images}
            pictures = list(pictures)
            looked = super().scan(pictures, batch=batch, threshold=threshold)
            for picture, (found, encoding) in zip(pictures, looked, strict=True):
                image = truth[Path(str(picture))]
                scores = np.eye(len(scenes.names), dtype=np.float32)[image.class_ids]
                right = type(found)(
                    image.xyxy, np.ones(len(image.class_ids), np.float32), image.class_ids, scores, image.size
                )
                yield right, encoding

    oracle = Oracle(YoloDetector.new("yolo11n.yaml", scenes.names, SIZE).module, SIZE)
    store = start(tmp_path, oracle)
    learned = learn(folder_of(tmp_path), store, store.list()[0], oracle, scenes, QUICK.fit, watch([]))
    assert learned.before is not None
    assert learned.before.map == pytest.approx(1.0)
    assert not learned.promote
    assert learned.version.name in {version.name for version in store.list()}
    assert "not promoted" in learned.version.note


def test_one_labeled_image_trains_without_a_holdout(tmp_path: Path, scenes: Dataset, detector: Detector) -> None:
    single = scenes.subset([next(image.id for image in scenes.images if len(image.class_ids))])
    store = start(tmp_path, detector)
    learned = learn(folder_of(tmp_path), store, store.list()[0], detector, single, QUICK.fit, watch([]))
    assert learned.metrics is None
    assert learned.promote
    assert learned.version.metrics is None


def test_nothing_to_learn_from_is_an_error(tmp_path: Path, scenes: Dataset, detector: Detector) -> None:
    blank = Dataset(tuple(LabeledImage(i.id, i.path, i.size) for i in scenes.images), scenes.names)
    store = start(tmp_path, detector)
    with pytest.raises(ValueError, match="without any box"):
        learn(folder_of(tmp_path), store, store.list()[0], detector, blank, QUICK.fit, watch([]))
    assert len(store.list()) == 1


@pytest.mark.parametrize(("labeled", "strategy"), [(0, COLD), (6, "entropy"), (14, "entropy"), (6, "mgral")])
def test_every_unlabeled_image_is_ordered_and_every_image_is_looked_at_once(
    tmp_path: Path, scenes: Dataset, detector: Detector, labeled: int, strategy: str
) -> None:
    ids = [image.id for image in scenes.images]
    labels = set(ids[:labeled])
    kept: list[int] = []
    written: list[int] = []
    seen: list = []
    config = replace(QUICK, strategy=strategy)
    store = PoolStore(tmp_path / "pool")

    class Sink:
        def keep(self, image: int, _: Detections) -> None:
            kept.append(image)

        def flush(self) -> None:
            written.extend(kept[len(written) :])

    def see() -> Pool:
        cycle = Cycle(DatasetImages(scenes), config, watch(seen))
        return cycle.look(store, Encoder(detector, "weights"), labels, None, Sink())

    pool = see()
    ranking = rank(pool, Rows(), 1, config, watch(seen))
    assert sorted(ranking.order.tolist()) == sorted(set(ids) - labels)
    assert ranking.strategy == strategy
    assert kept == written == ids
    assert ("scan", len(ids), len(ids)) in seen
    again = see()  # nothing is looked at twice
    assert kept == ids
    np.testing.assert_array_equal(again.ids, pool.ids)
    np.testing.assert_array_equal(again.descriptors, pool.descriptors)


def test_a_cycle_that_was_interrupted_does_not_learn_again(tmp_path: Path, scenes: Dataset, detector: Detector) -> None:
    store = start(tmp_path, detector)
    serving = store.list()[0]
    folder = tmp_path / "cycle"
    (folder / "images").mkdir(parents=True)
    (folder / "plan.json").write_text("of another cycle")
    seen: list = []
    first = learn(folder, store, serving, detector, scenes, QUICK.fit, watch(seen))
    assert not (folder / "plan.json").exists()
    assert (folder / "images").exists()
    seen.clear()
    again = learn(folder, store, serving, detector, scenes, QUICK.fit, watch(seen))
    assert not seen
    assert again.version.name == first.version.name
    for name in ("promote", "reason", "seconds", "updates", "gain"):
        assert getattr(again, name) == getattr(first, name), name
    assert again.metrics is not None
    assert first.metrics is not None
    assert (again.metrics.map, again.metrics.per_class) == (first.metrics.map, first.metrics.per_class)
    assert again.earlier is None  # the first version was trained on nothing that is known here
    other = learn(folder, store, serving, detector, scenes, replace(QUICK.fit, seed=1), watch(seen))
    assert other.version.name != first.version.name
    assert len(store.list()) == 3


@pytest.mark.parametrize("when", ["train", "evaluate"])
def test_a_cycle_whose_worker_is_told_to_stop_goes_on_with_its_training(
    tmp_path: Path, scenes: Dataset, detector: Detector, when: str
) -> None:
    """While it trains, and after that, when nothing is stored yet."""
    fit = replace(QUICK.fit, epochs=3)
    store = start(tmp_path, detector)
    serving = store.list()[0]
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    whole = learn(tmp_path / "whole", store, serving, detector, scenes, fit, watch([]))
    seen: list = []

    def stop(stage: str, done: int, total: int, **_: float) -> None:
        seen.append((stage, done, total))
        if stage == when and done >= 2:
            raise Interrupted

    with pytest.raises(Interrupted):
        learn(tmp_path / "parts", store, serving, detector, scenes, fit, stop)
    assert len(store.list()) == 2
    first = list(seen)
    learned = learn(tmp_path / "parts", store, serving, detector, scenes, fit, watch(seen))
    again = [done for now, done, _ in seen[len(first) :] if now == "train"]
    assert again == ([3] if when == "train" else [])
    assert learned.updates == whole.updates
    assert same(state(learned.detector), state(whole.detector))
    assert learned.seconds > 0


def test_a_checkpoint_of_another_cycle_is_removed(tmp_path: Path, scenes: Dataset, detector: Detector) -> None:
    def stop(stage: str, done: int, total: int, **_: float) -> None:  # noqa: ARG001 - the signature of a Watch
        raise Interrupted

    store, folder = start(tmp_path, detector), folder_of(tmp_path)
    with pytest.raises(Interrupted):
        learn(folder, store, store.list()[0], detector, scenes, QUICK.fit, stop)
    assert (folder / "checkpoint.pt").exists()
    nothing = Dataset(tuple(LabeledImage(i.id, i.path, i.size) for i in scenes.images), scenes.names)
    with pytest.raises(ValueError, match="without any box"):
        learn(folder, store, store.list()[0], detector, nothing, QUICK.fit, stop)
    assert not (folder / "checkpoint.pt").exists()


def test_of_a_training_that_ends_in_no_number_nothing_is_stored(
    tmp_path: Path, scenes: Dataset, detector: Detector
) -> None:
    assert isinstance(detector, NetworkDetector)
    ruined = detector.copy()
    next(ruined.module.parameters()).data.fill_(float("nan"))
    store = start(tmp_path, detector)
    with pytest.raises(TrainingError, match=r"train again with another SEED"):
        learn(folder_of(tmp_path), store, store.list()[0], ruined, scenes, QUICK.fit, watch([]))
    assert len(store.list()) == 1


def test_the_inner_loop_takes_up_where_it_was_left(tmp_path: Path, detector: Detector) -> None:
    scenes = write_scenes(tmp_path / "scenes", 40, seed=5)
    labeled = scenes.subset([image.id for image in scenes.images[:30]])
    folder = tmp_path / "cycle"
    (folder / "images").mkdir(parents=True)
    for image in labeled.images:
        (folder / "images" / image.path.name).write_bytes(image.path.read_bytes())
    store = start(tmp_path, detector)
    plan = PlanConfig(hindsight=2, training=SurrogateConfig(steps=1, batch=4))
    config = replace(QUICK, strategy="mgral", plan=plan, seconds=1000.0)
    learned = learn(folder, store, store.list()[0], detector, labeled, config.fit, watch([]))
    pool = scan(learned.detector, scenes.images[30:], labeled.images, np.full(len(scenes.names), -1.0))

    cycle = Cycle(DatasetImages(scenes), config, watch([]))

    def go() -> Plan:
        hindsight = cycle.look_back(folder, labeled, learned.earlier, detector)
        return cycle.plan(folder, labeled, pool, learned.detector, learned, hindsight)

    first = go()
    assert [variant.kind for variant in first.variants] == ["control", "random", "weakness"]
    for index in range(3):
        first.run(index, silent)
    again = go()
    assert not again.pending(controls=True)
    assert not again.pending(controls=False)
    rows = Rows(again.rows())
    assert [row.source for row in rows] == ["hindsight", "hindsight"]
    ranking = rank(pool, rows, again.cycle + 1, config, watch([]))
    assert ranking.details["rows"] == {"hindsight": 2}
    assert ranking.details["chosen"] in (*BASELINES, "mgral")
    assert ranking.details["why"]
    assert set(ranking.details["gains"]) >= set(BASELINES)

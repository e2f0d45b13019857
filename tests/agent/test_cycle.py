"""One cycle with a real detector on procedural scenes: what is learned, what is promoted, what is ordered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from agent.cycle import COLD, CycleConfig, Watch, decide, learn, order
from agent.match_scores import Delta, Estimate
from model.dataset import Dataset, LabeledImage
from model.detections import Detections
from model.detector import Detector, FitConfig, Picture
from model.evaluate import Metrics
from model.scenes import write_scenes
from model.versions import VersionStore
from model.yolo import YoloDetector

SIZE = 64


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return write_scenes(tmp_path_factory.mktemp("scenes"), 14, seed=3)


@pytest.fixture
def detector(scenes: Dataset) -> Detector:
    return YoloDetector.new("yolo11n.yaml", scenes.names, SIZE)


def start(tmp_path: Path, detector: Detector) -> VersionStore:
    store = VersionStore(tmp_path / "versions")
    same = {name: name for name in detector.names}
    first = store.add(detector, metrics=None, label_map=same, fingerprint="", parent=None, images=0)
    store.promote(first.name)
    return store


def watch(seen: list) -> Watch:
    return lambda step, done, total, **_: seen.append((step, done, total))


QUICK = CycleConfig(fit=FitConfig(epochs=1, min_steps=2, image_size=SIZE, batch=8), strategy="entropy", budget=4)


def metrics(value: float) -> Metrics:
    return Metrics(value, value, value, {}, 8, 30)


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


def test_without_a_holdout_it_is_promoted_and_that_is_said() -> None:
    decision, reason = decide(None, None, None)
    assert decision
    assert "without comparison" in reason


def test_learning_stores_a_version_with_what_it_saw(tmp_path: Path, scenes: Dataset, detector: Detector) -> None:
    store = start(tmp_path, detector)
    seen: list = []
    learned = learn(store, store.list()[0], detector, scenes, QUICK, watch(seen))
    assert learned.version.parent == store.list()[0].name
    assert learned.version.fingerprint == scenes.fingerprint()
    assert learned.version.images == len(scenes)
    assert learned.metrics is not None
    assert learned.before is not None
    assert learned.metrics.images == len(scenes.holdout()[1])
    assert learned.metrics.map_interval is not None
    assert store.serving().name == store.list()[0].name  # type: ignore[union-attr]  # promoting is the publisher's
    assert {step for step, _, _ in seen} == {"train", "evaluate", "evaluate the serving model"}


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
    learned = learn(store, store.list()[0], oracle, scenes, QUICK, watch([]))
    assert learned.before is not None
    assert learned.before.map == pytest.approx(1.0)
    assert not learned.promote
    assert learned.version.name in {version.name for version in store.list()}
    assert "not promoted" in learned.version.note


def test_one_labeled_image_trains_without_a_holdout(tmp_path: Path, scenes: Dataset, detector: Detector) -> None:
    single = scenes.subset([next(image.id for image in scenes.images if len(image.class_ids))])
    store = start(tmp_path, detector)
    learned = learn(store, store.list()[0], detector, single, QUICK, watch([]))
    assert learned.metrics is None
    assert learned.promote
    assert learned.version.metrics is None


def test_nothing_to_learn_from_is_an_error(tmp_path: Path, scenes: Dataset, detector: Detector) -> None:
    blank = Dataset(tuple(LabeledImage(i.id, i.path, i.size) for i in scenes.images), scenes.names)
    store = start(tmp_path, detector)
    with pytest.raises(ValueError, match="without any box"):
        learn(store, store.list()[0], detector, blank, QUICK, watch([]))
    assert len(store.list()) == 1


@pytest.mark.parametrize(("labeled", "strategy"), [(0, COLD), (6, "entropy"), (14, "entropy")])
def test_every_unlabeled_image_is_ordered_and_every_image_is_looked_at_once(
    scenes: Dataset, detector: Detector, labeled: int, strategy: str
) -> None:
    pictures = [(image.id, image.path) for image in scenes.images]
    kept: list[int] = []
    seen: list = []
    config = CycleConfig(fit=QUICK.fit, strategy=strategy, budget=4)
    ranking = order(
        detector,
        None,
        lambda: pictures[:labeled],
        lambda: pictures[labeled:],
        (labeled, len(pictures) - labeled),
        config,
        watch(seen),
        lambda image, _: kept.append(image),
    )
    assert sorted(ranking.order.tolist()) == [image for image, _ in pictures[labeled:]]
    assert ranking.strategy == strategy
    assert kept == [image for image, _ in pictures]
    assert ("scan", len(pictures), len(pictures)) in seen

"""The inner loop on disk: plans survive crashes, rows are the same whoever trains, ΔmAP is pycocotools'."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agent.inner_loop import surrogate
from agent.inner_loop.hindsight import Hindsight, look_back
from agent.inner_loop.plan import Group, Plan, SurrogateConfig, has_result, result_file, run_variant
from agent.inner_loop.planning import PlanConfig, Planner, cost
from agent.match_table import MatchTable
from agent.pool.images import DatasetImages
from model.data.dataset import Dataset, in_holdout
from model.detectors.base import FitConfig
from model.detectors.network import NetworkDetector
from model.evaluate import evaluate
from model.progress import silent
from tests.agent.pools import scan
from tests.model.made import SIDE, new, squares

TRAINING = SurrogateConfig(steps=2, every=2, batch=4, confidence=0.01)
CONFIG = PlanConfig(hindsight=2, surrogates=2, training=TRAINING)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return squares(tmp_path_factory.mktemp("pictures") / "images", 64)


@pytest.fixture(scope="module")
def detector(data: Dataset) -> NetworkDetector:
    start = new("tiny-retinanet", data.names)
    return start.fit(data.subset(range(1, 7)), FitConfig(epochs=1, min_steps=10, batch=6, image_size=SIDE))


def plan_of(data: Dataset, detector: NetworkDetector, folder: Path) -> Plan:
    """48 labeled images of which half play the pool, 16 unlabeled ones."""
    labeled, unlabeled = data.subset(range(1, 49)), data.subset(range(49, 65))
    train, _ = labeled.holdout()
    ids = [image.id for image in train.images]
    back = Hindsight(detector, tuple(ids[::2]), tuple(ids[1::2]), True)
    (folder / "images").mkdir(parents=True)
    for image in labeled.images:
        (folder / "images" / image.path.name).write_bytes(image.path.read_bytes())
    pool = scan(detector, unlabeled.images, labeled.images, np.array([0.5, 0.1]))
    return Planner(folder, DatasetImages(data), CONFIG, 5, 7).plan(labeled, pool, detector, back, (0.05, 0.02))


@pytest.fixture(scope="module")
def plan(data: Dataset, detector: NetworkDetector, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    plan = plan_of(data, detector, tmp_path_factory.mktemp("plan") / "cycle")
    for index in range(len(plan.variants)):
        plan.run(index, silent)
    return plan


def test_a_plan_has_controls_first_and_never_trains_on_what_measures(plan: Plan) -> None:
    assert [v.control for v in plan.variants] == [True, True, False, False, False, False]
    for variant in plan.variants:
        group = plan.groups[variant.group]
        measured = set(group.evaluation) - set(variant.ids)
        assert not measured & set(group.labeled)
        assert not measured & set(variant.ids)
        assert not any(in_holdout(k) for k in group.labeled)
    for variant in plan.variants[2:4]:
        assert set(variant.ids) < set(plan.groups["hindsight"].evaluation)
    assert all(len(v.ids) == 5 and min(v.ids) > 48 for v in plan.variants[4:])


def test_a_gain_is_the_difference_of_two_pycocotools_runs(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The detections behind the tables are scored once more, by pycocotools."""
    scored: list[tuple[Dataset, list]] = []
    build = MatchTable.from_dataset

    def record(dataset: Dataset, found: list) -> MatchTable:
        scored.append((dataset, found))
        return build(dataset, found)

    monkeypatch.setattr(surrogate.MatchTable, "from_dataset", record)
    for index in (plan.variants.index(v) for v in plan.variants if v.kind == "control"):
        plan.run(index, silent)
    controls = {v.group: scored[k] for k, v in enumerate(plan.variants[:2])}
    for index, variant in enumerate(plan.variants[2:], 2):
        scored.clear()
        plan.run(index, silent)
        ((dataset, found),) = scored
        whole, before = controls[variant.group]
        kept = {image.id for image in dataset.images}
        rows = [k for k, image in enumerate(whole.images) if image.id in kept]
        same = Dataset(tuple(whole.images[k] for k in rows), whole.names)
        control = evaluate(same, [before[k] for k in rows]).map
        assert plan.result(index).gain == pytest.approx(evaluate(dataset, found).map - control, abs=1e-12)


def test_a_plan_read_back_gives_the_same_rows(plan: Plan) -> None:
    again = Plan.load(plan.folder)
    assert (again.groups, again.variants, again.cycle, again.past) == (
        plan.groups,
        plan.variants,
        plan.cycle,
        plan.past,
    )
    rows = again.rows()
    assert [row.source for row in rows] == ["hindsight"] * 2 + ["surrogate"] * 2 + ["cycle"]
    assert [row.gain for row in rows] == [plan.result(k).gain for k in range(2, 6)] + [0.05]
    assert {row.group for row in rows} == {"7:hindsight", "7:surrogate", "7:cycle"}
    for row in rows:
        assert row.phi.shape == (len(row.ids), len(row.columns))
        assert np.isfinite(row.phi).all()


def test_a_variant_that_is_run_again_gives_the_same_result(plan: Plan) -> None:
    for index in (2, 5):
        before = plan.result(index)
        result_file(plan.folder, index).unlink()
        assert plan.pending(controls=False) == [index]
        run_variant(plan.folder, index, silent)
        after = plan.result(index)
        assert (after.gain, after.error, after.curve) == (before.gain, before.error, before.curve)
        assert has_result(plan.folder, index)


def test_a_variant_without_its_control_is_refused(data: Dataset, detector: NetworkDetector, tmp_path: Path) -> None:
    plan = plan_of(data, detector, tmp_path / "cycle")
    with pytest.raises(ValueError, match="run it first"):
        plan.run(2, silent)
    assert plan.pending(controls=True) == [0, 1]


def test_an_unfinished_plan_is_no_plan(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps({}))
    with pytest.raises(FileNotFoundError):
        Plan.load(tmp_path)


def test_a_gain_is_the_mean_of_what_was_measured(data: Dataset, detector: NetworkDetector, tmp_path: Path) -> None:
    plan = plan_of(data, detector, tmp_path / "cycle")
    group = plan.groups["hindsight"]
    plan.groups["hindsight"] = Group(group.labeled, group.evaluation, SurrogateConfig(steps=5, every=2, batch=4))
    plan.run(0, silent)
    plan.run(2, silent)
    result = plan.result(2)
    assert [step for step, _ in result.curve] == [3, 5]
    assert result.gain == pytest.approx(np.mean([gain for _, gain in result.curve]))


def test_hindsight_takes_the_served_detector_where_enough_is_new(data: Dataset, detector: NetworkDetector) -> None:
    train = data.subset(range(1, 31))
    fit = FitConfig(epochs=1, min_steps=2, batch=4, image_size=SIDE)
    back = look_back(train, detector, (detector, frozenset(range(1, 16))), fit, silent)
    assert back is not None
    assert back.served
    assert back.detector is detector
    assert (back.learned, back.fresh) == (tuple(range(1, 16)), tuple(range(16, 31)))
    halves = look_back(train, detector, (detector, frozenset(range(1, 28))), fit, silent)
    assert halves is not None
    assert not halves.served
    assert sorted(halves.learned + halves.fresh) == list(range(1, 31))
    assert look_back(data.subset(range(1, 11)), detector, None, fit, silent) is None


def test_the_time_budget_decides_how_many_variants_run() -> None:
    config = PlanConfig(hindsight=8, surrogates=4, training=SurrogateConfig(steps=40))
    each = 0.5 * 40 * 1.2
    for seconds in (0.0, each, 3 * each, 7 * each, 14 * each, 100 * each):
        fewer = config.within(seconds, 0.5)
        used = (cost(fewer.hindsight) + cost(fewer.surrogates)) * each
        assert used <= seconds
        assert fewer.hindsight != 1
        assert fewer.surrogates != 1
    assert config.within(14 * each, 0.5) == config
    assert config.within(0.0, 0.5).hindsight == 0
    few = config.within(6 * each, 0.5)
    assert few.hindsight > 0

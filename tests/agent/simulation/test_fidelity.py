"""Fidelity on a toy: real retrains, a real inner loop, resumed after a stop; and the statistics by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agent.inner_loop.plan import SurrogateConfig
from agent.inner_loop.planning import PlanConfig
from agent.simulation import fidelity
from agent.simulation.fidelity import FidelityConfig, interval, measure
from model.data.dataset import Dataset
from model.detectors.base import FitConfig
from model.detectors.network import NetworkDetector
from model.progress import Cancelled
from tests.model.made import SIDE, new, squares

FIT = FitConfig(epochs=1, min_steps=2, batch=8, image_size=SIDE)
CONFIG = FidelityConfig(
    initial=30,
    batch=4,
    batches=3,
    seeds=2,
    start=FIT,
    retrain=FIT,
    plan=PlanConfig(hindsight=2, surrogates=0, training=SurrogateConfig(steps=1, batch=4)),
)


def test_the_interval_of_a_perfect_order_is_narrow_and_of_noise_wide() -> None:
    x = np.arange(20.0)
    assert interval(x, 3 * x + 1) == pytest.approx((1, 1))
    low, high = interval(x, np.random.default_rng(0).normal(size=20))
    assert low < 0 < high


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = squares(tmp_path / "images", 56)
    pool, evaluation = data.subset(range(1, 45)), data.subset(range(45, 57))
    weights = new("tiny-retinanet", data.names)

    def stop(stage: str, done: int, total: int, **_: float) -> None:
        assert done <= total
        if stage == "retrain" and done == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        measure(pool, evaluation, weights, tmp_path / "out", CONFIG, stop)
    fits: list[int] = []
    fit = NetworkDetector.fit

    def count(self: NetworkDetector, dataset: Dataset, *args: object, **kwargs: object) -> NetworkDetector:
        fits.append(len(dataset))
        return fit(self, dataset, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(NetworkDetector, "fit", count)
    stages: list[str] = []
    figures = measure(pool, evaluation, weights, tmp_path / "out", CONFIG, lambda stage, *_, **__: stages.append(stage))
    assert fits.count(34) + fits.count(30) == 2 * 4 - 3  # three of eight retrains were done before
    assert set(stages) == {"retrain", "hindsight", "variants"}
    assert len(figures["gains"]) == 3
    assert -1 <= figures["ceiling"] <= 1
    assert figures["hindsight"]["rows"] == 2
    assert figures["nothing"]["rows"] == figures["surrogate"]["rows"] == 0
    assert json.loads((tmp_path / "out" / "fidelity.json").read_text()) == figures
    fits.clear()
    assert measure(pool, evaluation, weights, tmp_path / "out", CONFIG, lambda *_, **__: None) == figures
    assert not fits


def test_gains_are_taken_against_the_retrain_without_a_batch(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for seed in (0, 1):
        for k, value in enumerate((0.30, 0.35, 0.40), fidelity.CONTROL):
            (out / f"retrain-{seed}-{k}.json").write_text(json.dumps({"map": value + 0.1 * seed * (k + 2)}))
    start = fidelity._Start(None, (), None, [np.zeros(1, int)] * 2, ["a", "b"])  # type: ignore[arg-type]
    config = FidelityConfig(seeds=2)
    empty = Dataset((), ())
    gains, ceiling = fidelity._retrain(start, empty, empty, out, config, lambda *_, **__: None)
    np.testing.assert_allclose(gains, [(0.05 + 0.15) / 2, (0.10 + 0.30) / 2])
    assert ceiling == 1.0

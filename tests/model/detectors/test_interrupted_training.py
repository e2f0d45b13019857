"""A training that is interrupted and goes on, in every family; and one whose loss is no number."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.data.dataset import Dataset
from model.detectors import checkpoint as checkpoints
from model.detectors.base import FitConfig, TrainingError
from model.detectors.network import NetworkDetector
from model.detectors.training import Sample, train
from model.progress import Cancelled, Interrupted, Report, silent
from tests.model.made import FAMILIES, SIDE, TINY, cancel, new, same, squares, state

CONFIG = FitConfig(epochs=4, min_steps=1, batch=2, image_size=SIDE)  # two updates an epoch


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return squares(tmp_path_factory.mktemp("images"), 4)


@pytest.fixture(params=FAMILIES)
def base(request: pytest.FixtureRequest, tmp_path: Path) -> NetworkDetector:
    """A tiny untrained detector of each family."""
    return made(request.param, tmp_path)


@pytest.fixture
def one(tmp_path: Path) -> NetworkDetector:
    """The detector of one family, for what is the same in all."""
    return made("tiny-ssd", tmp_path)


def made(family: str, directory: Path) -> NetworkDetector:
    if family in TINY:
        file = directory / f"{family}-tiny.yaml"
        file.write_text(TINY[family])
        family = str(file)
    return new(family, ("red", "blue"))


def stop_after(epochs: int, told: list[int], error: type[Exception] = Interrupted) -> Report:
    """A worker that is told to stop after so many epochs."""

    def report(done: int, total: int, **figures: float) -> None:
        assert np.isfinite(figures["loss"])
        assert total == CONFIG.epochs
        told.append(done)
        if done == epochs:
            raise error

    return report


def interrupted(detector: NetworkDetector, data: Dataset, file: Path, config: FitConfig = CONFIG) -> bytes:
    """What the checkpoint holds of a training that was told to stop after two epochs."""
    with pytest.raises(Interrupted):
        detector.fit(data, config, report=stop_after(2, []), checkpoint=file)
    return file.read_bytes()


def test_it_goes_on_and_ends_with_the_same_weights(base: NetworkDetector, data: Dataset, tmp_path: Path) -> None:
    told: list[int] = []
    file = tmp_path / "checkpoint.pt"
    whole = state(base.fit(data, CONFIG))
    for epochs in (1, 3):  # interrupted twice
        with pytest.raises(Interrupted):
            base.fit(data, CONFIG, report=stop_after(epochs, told), checkpoint=file)
        assert file.exists()
    torch.manual_seed(7)  # what the caller draws meanwhile does not matter
    expected = torch.rand(2)[1]
    torch.manual_seed(7)
    torch.rand(1)
    resumed = base.fit(data, CONFIG, report=stop_after(-1, told), checkpoint=file)
    assert torch.rand(1) == expected
    assert told == [1, 2, 3, 4]  # no epoch is told twice
    assert same(whole, state(resumed))
    assert not file.exists()
    assert resumed.fit_seconds > 0


def test_it_goes_on_in_the_middle_of_an_epoch(
    one: NetworkDetector, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that dies leaves what was written last: here after every update."""
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)
    monkeypatch.setattr(checkpoints, "SHARE", 1e9)
    file = tmp_path / "checkpoint.pt"
    whole = state(one.fit(data, CONFIG))
    config = replace(CONFIG, learning_rate=CONFIG.learning_rate * one.pace)  # as `fit` gives it
    module, updates = one.student(), 0

    def dies(samples: Sequence[Sample]) -> torch.Tensor:
        nonlocal updates
        updates += 1
        if updates == 4:
            raise KeyboardInterrupt
        return module.loss(samples)

    with pytest.raises(KeyboardInterrupt):
        train(module.module, dies, data, config, stop_after(-1, []), file)
    again = one.student()
    told: list[int] = []
    train(again.module, again.loss, data, config, stop_after(-1, told), file)
    assert told == [2, 3, 4]
    again.module.eval().cpu().half().float()
    assert same(whole, state(again))


def test_an_interruption_at_the_very_end_learns_nothing_again(
    one: NetworkDetector, data: Dataset, tmp_path: Path
) -> None:
    file, whole = tmp_path / "checkpoint.pt", state(one.fit(data, CONFIG))
    with pytest.raises(Interrupted):
        one.fit(data, CONFIG, report=stop_after(4, []), checkpoint=file)
    told: list[int] = []
    resumed = one.fit(data, CONFIG, report=stop_after(-1, told), checkpoint=file)
    assert told == []
    assert same(whole, state(resumed))


def test_the_seconds_of_all_parts_count(one: NetworkDetector, data: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    interrupted(one, data, file)
    checkpoint = checkpoints.Checkpoint(file, fingerprint(file))
    kept = checkpoint.read()
    assert kept is not None
    assert kept["seconds"] > 0
    checkpoint.write({**kept, "seconds": 1000.0})
    assert 1000 < one.fit(data, CONFIG, checkpoint=file).fit_seconds < 1100


def fingerprint(file: Path) -> str:
    """Of the training whose checkpoint lies in `file`."""
    with file.open("rb") as stream:
        stream.seek(checkpoints.DIGEST)
        return str(torch.load(stream, weights_only=True)["fingerprint"])


@pytest.mark.parametrize("changed", ["data", "order", "config", "start"])
def test_the_checkpoint_of_another_training_is_left_out(
    one: NetworkDetector, data: Dataset, tmp_path: Path, changed: str
) -> None:
    file = tmp_path / "checkpoint.pt"
    interrupted(one, data, file)
    other, config, start = data, CONFIG, one
    if changed == "data":
        moved = replace(data.images[0], xyxy=data.images[0].xyxy + np.float32(1))
        other = Dataset((moved, *data.images[1:]), data.names)
    elif changed == "order":
        other = Dataset(data.images[::-1], data.names)
    elif changed == "config":
        config = replace(CONFIG, seed=1)
    else:
        start = new("tiny-ssd", data.names, seed=1)
    expected = state(start.fit(other, config))
    told: list[int] = []
    fitted = start.fit(other, config, report=stop_after(-1, told), checkpoint=file)
    assert told == [1, 2, 3, 4]
    assert same(expected, state(fitted))
    assert not file.exists()


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "hostile"])
def test_a_damaged_checkpoint_is_left_out_with_a_warning(
    one: NetworkDetector, data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    file, ran = tmp_path / "checkpoint.pt", tmp_path / "ran"
    content = interrupted(one, data, file)
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif damage == "empty":
        file.write_bytes(b"")
    else:
        checkpoints.Checkpoint(file, fingerprint(file)).write({"module": Hostile(ran)})
    with caplog.at_level(logging.WARNING):
        one.fit(data, replace(CONFIG, epochs=1), checkpoint=file)
    assert "checkpoint" in caplog.text
    assert "damaged and left out, the training begins anew" in caplog.text
    assert not ran.exists()
    assert not file.exists()


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.file,)


def test_a_checkpoint_that_cannot_be_written_does_not_cost_the_training(
    one: NetworkDetector, data: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(Interrupted):
        one.fit(data, CONFIG, report=stop_after(2, []), checkpoint=tmp_path / "no such folder" / "checkpoint.pt")
    assert "could not be written" in caplog.text


def test_of_a_cancelled_training_nothing_is_kept(one: NetworkDetector, data: Dataset, tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.pt"
    interrupted(one, data, file)
    with pytest.raises(Cancelled):
        one.fit(data, CONFIG, report=cancel, checkpoint=file)
    assert list(tmp_path.glob("*check*")) == []


def test_checkpoints_are_written_no_more_often_than_their_share(
    one: NetworkDetector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])
    checkpoint = checkpoints.Checkpoint(tmp_path / "checkpoint.pt", "f")

    def slow(*_: object) -> None:
        clock[0] += 3

    monkeypatch.setattr(checkpoints, "write_file", slow)
    clock[0] += 59
    assert not checkpoint.due
    clock[0] += 1
    assert checkpoint.due
    checkpoint.write(state(one))
    clock[0] += 149
    assert not checkpoint.due
    clock[0] += 1
    assert checkpoint.due


def broken(
    detector: NetworkDetector,
    data: Dataset,
    when: set[int],
    report: Report = silent,
    file: Path | None = None,
    config: FitConfig = CONFIG,
) -> None:
    """A training in which the loss of some updates (1, 2, ...) is no number."""
    student, update = detector.student(), 0

    def loss(samples: Sequence[Sample]) -> torch.Tensor:
        nonlocal update
        update += 1
        return student.loss(samples) * (float("nan") if update in when else 1.0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, where the very first update is skipped
        train(student.module, loss, data, config, report, file)
    assert all(torch.isfinite(value).all() for value in state(student).values())


def test_a_loss_that_is_no_number_ends_the_training_with_one_line(
    base: NetworkDetector, data: Dataset, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.pt"
    with pytest.raises(TrainingError) as error:
        broken(base, data, set(range(3, 9)), file=file)
    assert str(error.value).startswith(
        "the training ended at update 7 of 8, because the loss was no number 5 times in a row: train again with "
        "another SEED, or look for damaged labels or pictures among the images "
    )
    assert not file.exists()


def test_a_few_updates_that_are_no_numbers_are_skipped_and_counted(
    one: NetworkDetector, data: Dataset, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[dict[str, float]] = []
    with caplog.at_level(logging.WARNING):
        broken(one, data, {1, 2, 5}, lambda *_, **figures: told.append(figures))
    assert [figures.get("skipped") for figures in told] == [2, 2, 3, 3]
    assert "loss" not in told[0]  # nothing was learned in the first epoch
    assert all(np.isfinite(figures["loss"]) for figures in told[1:])
    assert "3 of 8 updates were skipped" in caplog.text


def test_a_short_training_that_learned_nothing_is_none(one: NetworkDetector, data: Dataset) -> None:
    with pytest.raises(TrainingError, match="no number 2 times in a row"):
        broken(one, data, {1, 2}, config=replace(CONFIG, epochs=1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_weights_that_are_no_numbers_end_the_training(one: NetworkDetector, data: Dataset, value: float) -> None:
    """The last one is a number, but none in the half precision that is saved."""
    start = one.copy()
    next(start.module.parameters()).data[0] = value
    with pytest.raises(TrainingError, match=r"at update \d of 8, because the weights are no numbers any more: train"):
        start.fit(data, CONFIG)

"""Damaged files in the folder of a cycle: what was kept is left out, and done again."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import learning
from agent.cycle import CycleConfig
from agent.inner_loop.plan import Plan
from agent.inner_loop.values import Group, SurrogateConfig, Variant
from agent.learning import recall, trained_on
from model.damage import DamagedError
from model.data.dataset import Dataset
from model.detectors.open import open_detector
from model.versions import VersionStore
from tests.model.made import add

WRONG = ["", "[{", "{}", "[]", "3", "null", '"x"', '{"key": "k", "version": 3, "serving": []}', "a directory"]


def write(file: Path, text: str) -> None:
    file.mkdir(parents=True) if text == "a directory" else file.write_text(text)


@pytest.mark.parametrize("text", WRONG)
def test_what_a_training_kept(tmp_path: Path, text: str) -> None:
    write(tmp_path / learning.KEPT, text)
    store = VersionStore(tmp_path / "versions")
    with pytest.raises(DamagedError, match=r"learned\.json is damaged .*: start the training again"):
        recall(tmp_path, store)
    assert learning._recall(tmp_path, "k", store) is None


@pytest.mark.parametrize("text", WRONG)
def test_whose_folder_it_is(tmp_path: Path, text: str) -> None:
    write(tmp_path / learning.KEY, text)
    (tmp_path / "images").mkdir()
    (tmp_path / "plan.json").touch()
    config = CycleConfig().fit
    learning.claim(tmp_path, Dataset((), ("a",)), config)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["images", learning.KEY]
    assert (tmp_path / learning.KEY).read_text() == learning.key_of(Dataset((), ("a",)), config)


@pytest.mark.parametrize("text", ["", "3", "{}", '["x"]', "a directory"])
def test_what_a_version_was_trained_on(tmp_path: Path, text: str) -> None:
    store, detector = VersionStore(tmp_path), open_detector("starter")
    version = add(store, detector)
    assert trained_on(store, version, detector) is None
    write(version.path / learning.TRAINED_ON, text)
    known = trained_on(store, version, detector)
    assert known is None or known[1] == frozenset()


@pytest.mark.parametrize("text", [*WRONG, '{"groups": {"a": 3}, "variants": [], "past": null, "cycle": 1}'])
def test_a_plan(tmp_path: Path, text: str) -> None:
    write(tmp_path / "plan.json", text)
    with pytest.raises(DamagedError, match=r"plan\.json is damaged .*: nothing that it measured is used"):
        Plan.load(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"gain": "x", "error": 0, "curve": 3}'])
def test_what_a_variant_measured(tmp_path: Path, text: str) -> None:
    plan = Plan(tmp_path, {}, [Variant("hindsight", "random", (1,))], 1, None)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/0.json").write_text(text)
    with pytest.raises(DamagedError, match=r"0\.json is damaged"):
        plan.result(0)
    assert plan.rows() == []


def test_what_describes_the_images(tmp_path: Path) -> None:
    group = Group((1,), (2,), SurrogateConfig())
    (tmp_path / "hindsight.npz").write_bytes(b"PK" + b"damaged" * 9)
    with pytest.raises(DamagedError, match=r"hindsight\.npz is damaged"):
        Plan(tmp_path, {"hindsight": group}, [], 1, None).rows()

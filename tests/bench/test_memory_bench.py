"""The photographs of bench.memory, at a hundredth of their size."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import memory
from model.data.images import displayed_size, load_image


def test_photographs_are_a_few_files_under_many_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "WIDTH", 400)
    monkeypatch.setattr(memory, "HEIGHT", 300)
    made = memory.data(tmp_path, 20)
    assert [image.id for image in made.images] == list(range(1, 21))
    assert len({image.path.stat().st_ino for image in made.images}) == memory.FILES
    assert {displayed_size(image.path) for image in made.images} == {(400, 300)}
    assert made.boxes == 40


def test_each_kind_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "SIDE", 64)
    for kind in memory.write_kinds(tmp_path):
        assert load_image((tmp_path / kind).read_bytes()).shape == (64, 64, 3)
        memory.decode(kind, tmp_path)
        assert (tmp_path / f"{kind}.json").exists()

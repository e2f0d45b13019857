from __future__ import annotations

from pathlib import Path

import pytest

from backend.commands import local

ROOT = Path(__file__).resolve().parents[3]


def test_label_studio_is_looked_for_in_the_projects_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LABEL_STUDIO_COMMAND", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    asked: list[Path] = []
    monkeypatch.setattr(Path, "exists", lambda path: asked.append(path) or path.name == "label-studio")  # type: ignore[func-returns-value]
    assert local.find_label_studio() == str(ROOT / ".venv-label-studio" / "bin" / "label-studio")
    assert asked

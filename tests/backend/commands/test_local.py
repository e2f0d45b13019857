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
    monkeypatch.setattr(Path, "exists", lambda path: path.name == "label-studio")
    assert local.find_label_studio() == str(ROOT / ".venv-label-studio" / "bin" / "label-studio")

"""The import rule: backend above agent above model, rooms in layers, no circle, no service below (pyproject.toml)."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CROWDED = 14  # files side by side in one drawer: more of them nobody reads at a glance


def test_the_import_rule_holds() -> None:
    """In a process of its own, because import-linter turns the loggers of this one off."""
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    linter = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert linter.returncode == 0, linter.stdout + linter.stderr
    assert "0 broken" in linter.stdout


def test_no_drawer_is_crowded() -> None:
    files = [file for room in ("agent", "backend", "model") for file in (ROOT / room).rglob("*.py")]
    sizes = Counter(str(file.parent.relative_to(ROOT)) for file in files if file.name != "__init__.py")
    assert {"model", "agent", "backend", "model/data"} <= sizes.keys()
    assert {drawer: size for drawer, size in sizes.items() if size > CROWDED} == {}


def test_a_command_starts_without_torch() -> None:
    """It takes seconds, and its threads must be told how to wait before it is loaded: see `backend.cli`."""
    code = "import sys, backend.cli, backend.jobs, backend.queue.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0

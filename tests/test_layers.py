"""The import rule: backend above agent above model, and neither of the two knows the service (see pyproject.toml)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports


def test_the_import_rule_holds() -> None:
    pyproject = Path(__file__).resolve().parents[1] / "pyproject.toml"
    assert lint_imports(config_filename=str(pyproject), no_cache=True) == EXIT_STATUS_SUCCESS


def test_a_command_starts_without_torch() -> None:
    """It takes seconds, and its threads must be told how to wait before it is loaded: see `backend.cli`."""
    code = "import sys, backend.cli, backend.jobs, backend.queue.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0

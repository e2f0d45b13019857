"""The tests that the documents name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`((?:[\w]+/)*test_\w+\.py)::(test_\w+)`")


@pytest.mark.parametrize("document", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_named_tests_exist(document: Path) -> None:
    missing = [
        f"{file}::{name}"
        for file, name in NAMED.findall(document.read_text())
        if not (ROOT / "tests" / file).exists() or f"def {name}(" not in (ROOT / "tests" / file).read_text()
    ]
    assert missing == []


def test_every_line_of_the_inputs_names_one() -> None:
    rows = [
        line
        for line in (ROOT / "docs" / "INPUTS.md").read_text().splitlines()
        if line.startswith("| ") and not line.startswith("| input")
    ]
    assert len(rows) > 30
    assert [row for row in rows if not NAMED.search(row)] == []

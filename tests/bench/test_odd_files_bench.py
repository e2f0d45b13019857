"""Our readers read every odd file right, and the comparison with others says so."""

from __future__ import annotations

import json

import pytest

from bench import odd_files


def test_every_odd_file_is_read_right_by_our_readers(capfd: pytest.CaptureFixture[str]) -> None:
    odd_files.main([])
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert figures == {"reader": "ours", "right": len(odd_files.CASES), "of": len(odd_files.CASES)}

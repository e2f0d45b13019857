"""The benchmark of reading runs from end to end on a few images, and a program can read what it prints."""

from __future__ import annotations

import json

import pytest

from bench import reading


def test_reading_prints_the_seconds_of_each_format(capfd: pytest.CaptureFixture[str]) -> None:
    reading.main(["--images", "20", "--repeats", "1"])
    figures = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert figures["images"] == 20
    assert all(0 < figures[f"seconds_{kind}"] < 10 for kind in ("coco", "yolo", "voc"))

"""The benchmark runs from end to end on small data, and what it prints can be read by a program."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest

from bench import match_table
from bench.detection_data import COCO, VOC, Shape, make

KEYS = {
    "ratio_pycocotools",
    "ratio_faster_coco_eval",
    "queries_per_second",
    "build_us_per_image",
    "bytes_per_detection",
    "incremental_gain",
    "max_abs_diff",
    "error_torchmetrics",
    "error_ultralytics",
    "bootstrap_seconds",
}


def test_quick_run_prints_figures_and_plots(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = numba.get_num_threads()
    try:
        match_table.main(["--quick", "--plot", str(tmp_path / "times.svg")])
    finally:
        numba.set_num_threads(threads)
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.keys() >= KEYS | {f"voc_{key}" for key in KEYS}
    assert all(np.isfinite(value) for value in figures.values())
    for prefix in ("", "voc_"):
        assert figures[f"{prefix}max_abs_diff"] < 1e-14
        assert figures[f"{prefix}error_faster_coco_eval"] < 1e-9
        assert figures[f"{prefix}error_torchmetrics"] < 0.01
        assert figures[f"{prefix}error_ultralytics"] < 0.05
        assert figures[f"{prefix}bytes_per_detection"] < 16
    assert "<svg" in (tmp_path / "times.svg").read_text()


@pytest.mark.parametrize("shape", [COCO, VOC], ids=["COCO", "VOC"])
def test_the_data_has_the_shape_it_imitates(shape: Shape) -> None:
    shape = replace(shape, images=1000)
    truth, found = make(shape, seed=2)
    boxes, detections = len(truth["annotations"]) / shape.images, len(found) / shape.images
    assert boxes == pytest.approx(shape.classes_an_image * shape.boxes_a_class, rel=0.2)
    assert detections == pytest.approx(shape.detections, rel=0.05)
    assert np.mean([a["iscrowd"] for a in truth["annotations"]]) == pytest.approx(shape.crowds, abs=0.005)
    assert make(shape, seed=2)[1][:50] == found[:50]
    assert make(shape, seed=3)[1][:50] != found[:50]

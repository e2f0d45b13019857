"""The contact sheet shows pictures as people see them, with their boxes where the objects are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from agent.simulation.config import SimulationConfig
from agent.simulation.gallery import COLOURS, MARGIN, NAME_WIDTH, SIDE, draw_gallery
from agent.simulation.run import Run
from model.data.dataset import Dataset, LabeledImage


def test_a_turned_picture_of_16_bits_is_shown_upright_and_bright(tmp_path: Path) -> None:
    stored = np.zeros((60, 120), np.uint16)  # lies on its side; what is left in it is above
    stored[:, :40] = 4095  # 12 bits
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    box = np.array([[6, 6, 54, 34]], np.float32)
    picture = LabeledImage(1, tmp_path / "a.png", (60, 120), box, np.array([1]))
    run = Run(
        tmp_path, Dataset((picture,), ("a", "b")), Dataset((), ()), SimulationConfig(("random",), 1, 1, 1), "random", 0
    )
    (run.folder / "0").mkdir(parents=True)
    (run.folder / "0" / "chosen.json").write_text(json.dumps({"ids": [1], "chosen_by": "random"}))
    draw_gallery([run], tmp_path / "gallery.jpg")

    shown = np.asarray(Image.open(tmp_path / "gallery.jpg")).astype(int)[:SIDE, NAME_WIDTH : NAME_WIDTH + SIDE + MARGIN]
    assert shown[60:120, 10:50].max() < 40  # below it is dark
    assert shown[12:30, 15:50].min() > 215  # above it is bright
    assert shown[:, SIDE // 2 + 4 :].min() > 215  # beside it is the sheet
    red, green, blue = (int(COLOURS[1][k : k + 2], 16) for k in (1, 3, 5))
    edge = shown[20, 4:10]
    assert np.abs(edge - [red, green, blue]).sum(axis=1).min() < 150
